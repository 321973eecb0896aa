//! Tests of the whole simulator, over https with a client that knows nothing of it.

mod client;
mod exporting;
mod faulty;
mod reading;
mod refusing;
mod truthful;

//! Tests of what is read from files, and of when.

mod contents;
mod directory;

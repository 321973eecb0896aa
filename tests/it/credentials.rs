//! Every kind of credential, by the program as it is run: against the simulated token endpoint, and
//! against stand-ins of a metadata service and of the Azure CLI.

mod assertions;
mod lab;
mod rotation;
mod surroundings;

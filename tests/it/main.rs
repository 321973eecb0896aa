//! Integration tests: one binary, one topic per file. They see what a user sees: files, the command
//! line, and the library's public items.

mod config;

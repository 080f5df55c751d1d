//! The machine: what it is and does, its programs and its folders.
//!
//! **Invariant:** every program is run through [`command`]: by argument list, with a timeout.

pub mod command;
pub mod page_folder;
pub mod system;

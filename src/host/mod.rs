//! The machine: what it is and does, its programs and its folders.
//!
//! **Invariant:** every program is run through [`command`]: by argument list, with a timeout. The one
//! exception is the shell of a terminal, in [`pty`].

pub mod command;
pub mod page_folder;
pub mod pty;
pub mod system;

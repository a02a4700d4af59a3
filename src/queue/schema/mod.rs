//! The schema: the migrations that create it, comparing it, and rebuilding what is missing or altered.

pub(crate) mod comparison;
pub(crate) mod migrations;
pub(crate) mod objects;
pub(crate) mod rebuild;
mod tokens;

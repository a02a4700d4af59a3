//! The schema: the migrations that make it, what is missing of it or altered, and making that again.

pub(crate) mod comparison;
pub(crate) mod migrations;
pub(crate) mod objects;
pub(crate) mod rebuild;
mod tokens;

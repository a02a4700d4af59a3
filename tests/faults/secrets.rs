//! A secret never leaves the process but in a request's signature.

//! Rows and server messages with everything in them that somebody might try.

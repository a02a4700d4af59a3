//! The way to the API: refused, unresolved, distrusted, silent, slow, cut, endless.

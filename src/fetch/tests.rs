//! How documents are fetched, against real servers.

//! Fetching from a host, against git's own server: what comes, what it may cost, and what is refused.

mod credentials;
mod hostile;
mod whole;
mod world;

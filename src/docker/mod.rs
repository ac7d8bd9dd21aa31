//! `docker`

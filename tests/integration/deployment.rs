//! What is shipped beside the program: Alertmanager's file, Docker Compose, Kubernetes, systemd.
//!
//! Files are read as their programs read them, by those programs wherever one is at hand.

mod alertmanager;

//! What is exchanged, what the arbiter can do with it, and which protocol follows.

pub mod item;
pub mod kind;
pub mod package;
pub mod payment;
pub mod property;
pub mod selection;

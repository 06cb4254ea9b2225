//! A decision becomes evidence, and evidence is checked.
//!
//! ```text
//!  arbiter:   Case ──sequencer::Batch::file──▶ statement + leaf ──close──▶ one atomic commit ──issue──▶ Receipt
//!  stranger:  Receipt ──verify──▶ Proven
//! ```
//! The two halves are inverse: what [`sequencer`] plans, [`receipt`] recomputes. [`chain`] says what the public leaves must be
//! to each other; a [`charge`] convicts an arbiter that broke a rule.

pub mod chain;
pub mod charge;
pub mod notice;
pub mod opening;
pub mod receipt;
pub mod sequencer;

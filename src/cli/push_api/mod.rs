//! Common parts of the commands of the Push API: how they connect, which sessions
//! they mean, how they print, and how they explain errors.

mod connection;
mod explain;
mod output;
mod target;
mod text;

pub(super) use connection::{Connection, Gateway};
pub(super) use output::{Format, JsonLines};
pub(super) use target::{Filters, Targets};
pub(super) use text::{SESSION_HEADER, Table, cell, session_cells, time};

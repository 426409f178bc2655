//! Tests of the table itself, of CONFIG GET and SET.

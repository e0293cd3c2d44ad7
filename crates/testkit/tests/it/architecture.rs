//! The rules of docs/ARCHITECTURE.md that a program can hold, read from the manifests and the sources.

mod documents;
mod failure_pages;
mod imports;
mod manifests;
mod sources;
mod text;

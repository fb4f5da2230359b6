//! Sturdy refs: vat ids, URIs, swiss numbers, reference files, the restorer.

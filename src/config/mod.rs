//! routes.yaml.

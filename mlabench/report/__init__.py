"""Tables, figures and pages from a plan and a store of records. Free of torch."""

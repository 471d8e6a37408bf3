"""Language models as Lightning modules."""

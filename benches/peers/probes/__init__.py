"""What runs in the clients' own environments: one module for each sort of reader."""

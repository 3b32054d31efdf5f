"""The client's side: clients, views and results."""

"""The service's own routes: predict and models, health and metrics, administration; and their JSON."""

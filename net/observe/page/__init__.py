"""The daemon's page: what an operator, a browser, Prometheus and a load balancer ask over HTTP."""

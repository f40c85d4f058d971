"""What a request meets between the socket and its route, whatever the route is."""

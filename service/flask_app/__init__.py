"""The routes of the two old Flask services, in a Flask application that runs on the event loop."""

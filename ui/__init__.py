"""The page: a Streamlit interface that calls the service over HTTP, as any client would."""

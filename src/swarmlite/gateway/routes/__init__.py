"""The endpoints, a file a group; each exports ROUTES, which `app` reads. `docker` knows JSON."""

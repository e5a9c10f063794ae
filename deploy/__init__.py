"""What runs and watches Gatehouse in production, made by code: rules, dashboard, manifests."""

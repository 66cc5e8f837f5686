"""What this tool costs: each module prints figures beside a control from the same run."""

"""From an adapter to a server: merge its weights or copy it for serving, check the result, publish it."""

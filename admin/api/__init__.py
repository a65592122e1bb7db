"""The admin API: aiohttp handlers over `admin.gateway`; every shape is a pydantic model in `admin.api.models`."""

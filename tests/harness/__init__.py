"""The test harness: isolation and guards for every test; a real server, browser and document client for those that ask."""

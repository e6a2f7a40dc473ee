"""The tests of the gateway: they mirror the packages they test; journeys, crash and bench go through the front door."""

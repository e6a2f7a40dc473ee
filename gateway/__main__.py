"""`python -m gateway` is `fhir-gateway`: the form in which the supervisor starts its own commands."""

from gateway.cli import main

main(prog_name="fhir-gateway")

"""What stands in the address of a resource: https://hl7.org/fhir/R4/http.html#root"""

from __future__ import annotations

from werkzeug.routing import BaseConverter, ValidationError

from gateway.fhir.definitions import is_resource


class TypeConverter(BaseConverter):
    """The type of a resource that R4 has; any other address is none."""

    regex = "[A-Z][A-Za-z]{1,63}"

    def to_python(self, value: str) -> str:
        if not is_resource(value, "R4"):
            raise ValidationError
        return value


class IdConverter(BaseConverter):
    """An id: https://hl7.org/fhir/R4/datatypes.html#id"""

    regex = r"[A-Za-z0-9\-.]{1,64}"


CONVERTERS = {"type": TypeConverter, "id": IdConverter}

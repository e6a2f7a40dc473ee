"""Attacks on XML parsers, by the names of the lists that publish them, and what the gateway does with each.

OWASP: https://cheatsheetseries.owasp.org/cheatsheets/XML_Security_Cheat_Sheet.html and the XML External Entity
Prevention Cheat Sheet; defusedxml: https://pypi.org/project/defusedxml; W3C and FHIR (https://hl7.org/fhir/R4/xml.html)
for what a document may be. {file} and {http} stand for a file and a server of the test's own, which nothing may read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

P = '<Patient xmlns="http://hl7.org/fhir">'
END = "</Patient>"
ID = P + '<id value="1"/>' + END
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
DOCTYPE = "has a DOCTYPE"
MALFORMED = "Not well-formed XML"
COSTLY = "more than 1000000 elements"


def _with_dtd(subset: str, value: str = "&e;") -> str:
    return f'<!DOCTYPE Patient [{subset}]>{P}<id value="{value}"/>{END}'


def _div(inside: str, attributes: str = "") -> str:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"{attributes}>{inside}</div>'
    return f'{P}<text><status value="generated"/>{div}</text>{END}'


ENTITIES: Mapping[str, tuple[str, str]] = {
    "owasp billion laughs": (_with_dtd(f'<!ENTITY l0 "lol">{LAUGHS}', "&l9;"), DOCTYPE),
    "owasp recursive entity reference": (_with_dtd('<!ENTITY a "&e;"><!ENTITY e "&a;">'), DOCTYPE),
    "owasp quadratic blowup": (_with_dtd(f'<!ENTITY e "{"a" * 50_000}">', "&e;" * 50_000), DOCTYPE),
    "owasp reflected file retrieval": (_with_dtd('<!ENTITY e SYSTEM "{file}">'), DOCTYPE),
    "owasp server side request forgery": (_with_dtd('<!ENTITY e SYSTEM "{http}">'), DOCTYPE),
    "owasp external entity, public": (_with_dtd('<!ENTITY e PUBLIC "any" "{http}">'), DOCTYPE),
    "owasp external entity, ftp": (_with_dtd('<!ENTITY e SYSTEM "ftp://127.0.0.1:1/a">'), DOCTYPE),
    "owasp external entity, php": (
        _with_dtd('<!ENTITY e SYSTEM "php://filter/read=convert.base64/resource=a">'),
        DOCTYPE,
    ),
    "owasp external entity, expect": (_with_dtd('<!ENTITY e SYSTEM "expect://id">'), DOCTYPE),
    "owasp external entity, jar": (_with_dtd('<!ENTITY e SYSTEM "jar:{http}!/a">'), DOCTYPE),
    "owasp external entity, gopher": (_with_dtd('<!ENTITY e SYSTEM "gopher://127.0.0.1:1/_a">'), DOCTYPE),
    "owasp external entity, netdoc": (_with_dtd('<!ENTITY e SYSTEM "netdoc:///etc/passwd">'), DOCTYPE),
    "owasp external entity, /dev/random": (_with_dtd('<!ENTITY e SYSTEM "file:///dev/random">'), DOCTYPE),
    "owasp parameter entity": (_with_dtd('<!ENTITY % p SYSTEM "{http}">%p;', "1"), DOCTYPE),
    "owasp parameter entity, out of band": (
        _with_dtd('<!ENTITY % f SYSTEM "{file}"><!ENTITY % p SYSTEM "{http}">%p;%send;', "1"),
        DOCTYPE,
    ),
    "parameter laughs": (_with_dtd('<!ENTITY % a "x"><!ENTITY % b "%a;%a;"><!ENTITY % c "%b;%b;">%c;', "1"), DOCTYPE),
    "defusedxml dtd retrieval": (f'<!DOCTYPE Patient SYSTEM "{{http}}">{ID}', DOCTYPE),
    "defusedxml dtd retrieval, public": (
        f'<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "{{http}}">{ID}',
        DOCTYPE,
    ),
    "defusedxml attribute defaults": (_with_dtd('<!ATTLIST id value CDATA "2">', "1"), DOCTYPE),
    "defusedxml notation": (_with_dtd('<!NOTATION n SYSTEM "{http}">', "1"), DOCTYPE),
    "unparsed entity": (_with_dtd('<!NOTATION n SYSTEM "n"><!ENTITY e SYSTEM "{http}" NDATA n>', "1"), DOCTYPE),
    "doctype without anything": (f"<!DOCTYPE Patient>{ID}", DOCTYPE),
    "doctype after comments": (f"<!-- a --> <?p?>\n<!--<!DOCTYPE b>--><!DOCTYPE Patient>{ID}", DOCTYPE),
    "doctype after the declaration": (f'<?xml version="1.0"?><!DOCTYPE Patient>{ID}', DOCTYPE),
    "doctype in lower case": (f"<!doctype Patient>{ID}", MALFORMED),
    "doctype inside": (f"{P}<!DOCTYPE Patient>{END}", MALFORMED),
    "entity that nobody declared": (f'{P}<id value="&nbsp;"/>{END}', MALFORMED),
    "entity in text": (f"{P}&e;{END}", MALFORMED),
    "doctype in a narrative": (_div("<!DOCTYPE a>"), MALFORMED),
    "conditional section": (f"{P}<![INCLUDE[<id value='1'/>]]>{END}", MALFORMED),
}

ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "defusedxml xinclude, text": (
        f'{P}<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{{file}}" parse="text"/>{END}',
        "is in the namespace 'http://www.w3.org/2001/XInclude'",
    ),
    "defusedxml xinclude, xml": (
        f'{P}<name><x:include xmlns:x="http://www.w3.org/2001/XInclude" href="{{http}}"/></name>{END}',
        "is in the namespace 'http://www.w3.org/2001/XInclude'",
    ),
    "xinclude as the root": (
        '<include xmlns="http://www.w3.org/2001/XInclude" href="{file}"/>',
        "is not in the namespace",
    ),
    "xinclude in a narrative": (
        _div('<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="{file}" parse="text"/>'),
        "not XHTML",
    ),
    "defusedxml schema location": (
        P.replace(
            ">", ' xmlns:s="http://www.w3.org/2001/XMLSchema-instance" s:schemaLocation="http://hl7.org/fhir {http}">'
        )
        + END,
        "read",
    ),
    "schema location without a namespace": (
        P.replace(">", ' xmlns:s="http://www.w3.org/2001/XMLSchema-instance" s:noNamespaceSchemaLocation="{http}">')
        + END,
        "has no attribute",
    ),
    "schema location further down": (
        f'{P}<name xmlns:s="http://www.w3.org/2001/XMLSchema-instance" s:schemaLocation="u {{http}}"/>{END}',
        "has no attribute",
    ),
    "schema import": (
        '<schema xmlns="http://www.w3.org/2001/XMLSchema"><import schemaLocation="{http}"/></schema>',
        "namespace",
    ),
    "defusedxml stylesheet": (f'<?xml-stylesheet type="text/xsl" href="{{http}}"?>{ID}', "processing instruction"),
    "processing instruction inside": (f"{P}<?php system('id') ?>{END}", "processing instruction"),
    "processing instruction after the end": (f"{ID}<?a b?>", "processing instruction"),
    "processing instruction in a narrative": (_div("<?a b?>"), "processing instruction"),
    "defusedxml xsl transformation": (
        (
            '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
            "<xsl:value-of select=\"document('{file}')\"/></xsl:stylesheet>"
        ),
        "is not in the namespace",
    ),
    "svg with a script": (
        '<svg xmlns="http://www.w3.org/2000/svg"><script>x</script></svg>',
        "is not in the namespace",
    ),
    "svg in a narrative": (
        _div('<svg xmlns="http://www.w3.org/2000/svg"><image href="{http}"/></svg>'),
        "not XHTML",
    ),
    "soap around it": (
        f'<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body>{ID}</e:Body></e:Envelope>',
        "is not in the namespace",
    ),
    "xml:base": (P.replace(">", ' xml:base="{http}">') + END, "has no attribute"),
}

DOCUMENTS: Mapping[str, tuple[str, str]] = {
    "nothing": ("", MALFORMED),
    "white space": (" \n", MALFORMED),
    "json": ('{"resourceType":"Patient"}', MALFORMED),
    "owasp open tag": (P, MALFORMED),
    "owasp crossed tags": (f"{P}<name><family></name></family>{END}", MALFORMED),
    "owasp attribute twice": (f'{P}<id value="1" value="2"/>{END}', MALFORMED),
    "owasp attribute without quotes": (f"{P}<id value=1/>{END}", MALFORMED),
    "attribute twice through namespaces": (
        f'{P}<id xmlns:a="u" xmlns:b="u" a:x="1" b:x="2"/>{END}',
        MALFORMED,
    ),
    "prefix that nobody declared": ("<f:Patient/>", MALFORMED),
    "two roots": (ID + ID, MALFORMED),
    "text after the end": (f"{ID}x", MALFORMED),
    "declaration not at the start": (f' <?xml version="1.0"?>{ID}', MALFORMED),
    "declaration twice": (f'<?xml version="1.0"?><?xml version="1.0"?>{ID}', MALFORMED),
    "root in no namespace": ("<Patient/>", "is not in the namespace"),
    "root in another namespace": ('<Patient xmlns="http://hl7.org/fhir/"/>', "is not in the namespace"),
    "root of another type": ('<Patient2 xmlns="http://hl7.org/fhir"/>', "has no resource 'Patient2'"),
    "root of an abstract type": ('<Resource xmlns="http://hl7.org/fhir"/>', "has no resource 'Resource'"),
    "root of a data type": ('<HumanName xmlns="http://hl7.org/fhir"/>', "has no resource 'HumanName'"),
    "unknown element": (f"{P}<nickname/>{END}", "has no element"),
    "unknown attribute": (f'{P}<id value="1" valu="2"/>{END}', "has no attribute"),
    "attribute of the root": (P.replace(">", ' id="1">') + END, "has no attribute"),
    "single element twice": (f'{P}<active value="true"/><active value="false"/>{END}', "more than once"),
    "choice twice": (
        f'{P}<deceasedBoolean value="true"/><deceasedDateTime value="2020"/>{END}',
        "more than once",
    ),
    "text where none may be": (f"{P}x{END}", "Text is not allowed"),
    "cdata": (f"{P}<![CDATA[<id value='1'/>]]>{END}", "Text is not allowed"),
    "empty cdata": (f"{P}<![CDATA[]]>{END}", "read"),
    "reference to nul": (f'{P}<id value="&#0;"/>{END}', MALFORMED),
    "reference to a control character": (f'{P}<id value="&#x1F;"/>{END}', MALFORMED),
    "reference to a surrogate": (f'{P}<id value="&#xD800;"/>{END}', MALFORMED),
    "reference to no character": (f'{P}<id value="&#x110000;"/>{END}', MALFORMED),
    "reference to U+FFFE": (f'{P}<id value="&#xFFFE;"/>{END}', MALFORMED),
    "reference without an end": (f'{P}<id value="&#65"/>{END}', MALFORMED),
    "control character": (f'{P}<id value="\x01"/>{END}', MALFORMED),
    "nul": (f'{P}<id value="\x00"/>{END}', MALFORMED),
    "U+FFFF": (f'{P}<id value="\uffff"/>{END}', MALFORMED),
    "less-than sign in a value": (f'{P}<id value="<"/>{END}', MALFORMED),
    "comment with two hyphens": (f"{P}<!-- -- -->{END}", MALFORMED),
    "end of cdata in text": (f"{P}]]>{END}", MALFORMED),
    "xml 1.1": (f'<?xml version="1.1"?>{ID}', "read"),
    "xml 2.0": (f'<?xml version="2.0"?>{ID}', MALFORMED),
}

ENCODINGS: Mapping[str, tuple[bytes, str]] = {
    "utf-7": (b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE a+AD4-', "encoding 'utf-7' is not supported"),
    "ebcdic, declared": (f'<?xml version="1.0" encoding="IBM037"?>{ID}'.encode(), "encoding 'ibm037' is not supported"),
    "ebcdic": (f'<?xml version="1.0" encoding="IBM037"?>{ID}'.encode("cp037"), MALFORMED),
    "rot13": (f'<?xml version="1.0" encoding="rot13"?>{ID}'.encode(), "not supported"),
    "a name that is none": (f'<?xml version="1.0" encoding="{"x" * 500}"?>{ID}'.encode(), "not supported"),
    "utf-32": (ID.encode("utf-32"), MALFORMED),
    "utf-16": (ID.encode("utf-16"), "read"),
    "utf-16 without a mark": (ID.encode("utf-16-be"), "read"),
    "utf-16, declared only": (f'<?xml version="1.0" encoding="UTF-16"?>{ID}'.encode(), "read"),
    "utf-16 with a doctype": (f"<!DOCTYPE Patient>{ID}".encode("utf-16"), DOCTYPE),
    "utf-16 cut off": (ID.encode("utf-16-le")[:-1], "not in the encoding"),
    "utf-16 with half a pair": (b"\xff\xfe" + ID.replace("1", "\ud800").encode("utf-16-le", "surrogatepass"), "not in"),
    "utf-8 with a mark and a doctype": (b"\xef\xbb\xbf" + f"<!DOCTYPE Patient>{ID}".encode(), DOCTYPE),
    "utf-8 with two marks": (b"\xef\xbb\xbf" * 2 + ID.encode(), "read"),
    "utf-8 that is latin-1": (ID.replace("1", "é").encode("latin-1"), MALFORMED),
    "utf-8, overlong": (ID.encode().replace(b'"1"', b'"\xc0\xaf"'), MALFORMED),
    "utf-8 of a surrogate": (ID.encode().replace(b'"1"', b'"\xed\xa0\x80"'), MALFORMED),
    "utf-8 beyond unicode": (ID.encode().replace(b'"1"', b'"\xf4\x90\x80\x80"'), MALFORMED),
    "latin-1, declared": (b'<?xml version="1.0" encoding="ISO-8859-1"?>' + ID.encode("latin-1"), "read"),
    "latin-1, declared, with a doctype": (
        b'<?xml version="1.0" encoding="latin1"?><!DOCTYPE a>' + ID.encode(),
        DOCTYPE,
    ),
}


def _declared(attribute: bytes, count: int) -> bytes:
    return b" ".join(attribute % number for number in range(count))


_FILL = 15 * 1024 * 1024
_HEAD, _TAIL = P.encode(), END.encode()

JUMBO: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "owasp coercive parsing": (lambda: b"<A1>" * (_FILL // 4), COSTLY),
    "depth": (lambda: _HEAD + b"<contact>" * 300, "Excessive depth"),
    "depth of resources": (lambda: _HEAD + b"<contained><Patient>" * 150, "Excessive depth"),
    "owasp jumbo width": (lambda: _HEAD + b"<name/>" * 2_000_000 + _TAIL, COSTLY),
    "as wide as may be": (lambda: _HEAD + b"<name/>" * 900_000 + _TAIL, "read"),
    "owasp element name": (lambda: b"<" + b"a" * _FILL + b"/>", "Resource limit exceeded"),
    "owasp attribute name": (lambda: b"<Patient " + b"a" * _FILL + b"=''/>", "Resource limit exceeded"),
    "owasp attribute value": (
        lambda: _HEAD + b'<id value="' + b"a" * _FILL + b'"/>' + _TAIL,
        "Resource limit exceeded",
    ),
    "owasp attribute count": (
        lambda: b"<Patient xmlns='http://hl7.org/fhir' " + _declared(b"a%d=''", 500_000) + b"/>",
        "more than 100 attributes",
    ),
    "defusedxml attribute blowup": (lambda: b"<a " + b"a='' " * 1_000_000 + b"/>", MALFORMED),
    "namespace bomb": (lambda: b"<a " + _declared(b"xmlns:n%d='u'", 300_000) + b"/>", "is not in the namespace"),
    "namespace of each element": (
        lambda: _HEAD + b"".join(b"<a xmlns='u%d'/>" % n for n in range(300_000)) + _TAIL,
        "is in the namespace",
    ),
    "text": (lambda: _HEAD + b"a" * _FILL + _TAIL, "Resource limit exceeded"),
    "references": (
        lambda: _HEAD + b'<id value="' + b"&#65;" * (_FILL // 5) + b'"/>' + _TAIL,
        "Resource limit exceeded",
    ),
    "one long reference": (lambda: _HEAD + b'<id value="&#' + b"9" * _FILL + b';"/>' + _TAIL, MALFORMED),
    "comments": (lambda: _HEAD + b"<!---->" * (_FILL // 7) + _TAIL, COSTLY),
    "comments before it": (lambda: b"<!-- a -->" * 900_000 + _HEAD + _TAIL, "read"),
    "one long comment": (lambda: _HEAD + b"<!--" + b"a" * _FILL + b"-->" + _TAIL, MALFORMED),
    "comment without an end": (lambda: b"<!--" + b"a" * _FILL, MALFORMED),
    "cdata sections": (lambda: _HEAD + b"<![CDATA[]]>" * (_FILL // 12) + _TAIL, COSTLY),
    "one long cdata section": (lambda: _HEAD + b"<![CDATA[" + b"a" * _FILL + b"]]>" + _TAIL, MALFORMED),
    "processing instructions": (lambda: _HEAD + b"<?a?>" * 900_000 + _TAIL, "processing instruction"),
    "declarations": (lambda: b"<?xml version='1.0'?>" * (_FILL // 21), MALFORMED),
    "encodings in the declaration": (lambda: b"<?xml " + b"encoding=" * (_FILL // 9), MALFORMED),
    "white space": (lambda: b" " * _FILL, MALFORMED),
    "less-than signs": (lambda: b"<" * _FILL, COSTLY),
    "wrong elements": (lambda: _HEAD + b"<a/>" * 900_000 + _TAIL, "has no element"),
    "single elements": (lambda: _HEAD + b'<active value="true"/>' * 600_000 + _TAIL, "more than once"),
    "elements of a narrative": (lambda: _div("<b/>" * 900_000).encode(), "more than 100000 elements"),
    "attributes of a narrative": (
        lambda: _div("", " " + " ".join(f"a{n}=''" for n in range(300_000))).encode(),
        "more than 100 attributes",
    ),
}

"""Faults of the narrative: https://hl7.org/fhir/R4/narrative.html#xhtml."""

from tests.fhir.check.mutants.fault import R4, Fault, fault

_DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
_RULES = ("narrative", "narrative-markup", "txt-1", "txt-2")
_XHTML = f"{R4}/narrative.html#xhtml"

_DIVS: list[tuple[str, str, str]] = [
    ("A narrative has a script", _DIV.format("<script>alert(1)</script>"), "txt-1"),
    ("A narrative has a script in capitals", _DIV.format("<SCRIPT>alert(1)</SCRIPT>"), "txt-1"),
    ("A narrative has a script within other elements", _DIV.format("<p><b><script>x()</script></b></p>"), "txt-1"),
    ("A narrative has an empty script", _DIV.format('<p>a</p><script src="https://a.test/x.js"/>'), "txt-1"),
    ("A narrative acts when it is clicked", _DIV.format('<p onclick="x()">a</p>'), "txt-1"),
    ("A narrative acts when it is loaded", _DIV.format('<img src="a.png" alt="a" onload="x()"/>'), "txt-1"),
    ("The div itself acts", '<div xmlns="http://www.w3.org/1999/xhtml" onmouseover="x()">a</div>', "txt-1"),
    ("A narrative has an iframe", _DIV.format('<p>a</p><iframe src="https://a.test"></iframe>'), "txt-1"),
    ("A narrative has a form", _DIV.format('<form action="https://a.test"><p>a</p></form>'), "txt-1"),
    ("A narrative has an input", _DIV.format('<p>a</p><input type="text"/>'), "txt-1"),
    ("A narrative has a button", _DIV.format("<p><button>a</button></p>"), "txt-1"),
    ("A narrative has an object", _DIV.format('<p>a</p><object data="a.swf"></object>'), "txt-1"),
    ("A narrative embeds something", _DIV.format('<p>a</p><embed src="a.swf"/>'), "txt-1"),
    ("A narrative links to a style sheet", _DIV.format('<link rel="stylesheet" href="a.css"/><p>a</p>'), "txt-1"),
    ("A narrative has a base", _DIV.format('<base href="https://a.test"/><p>a</p>'), "txt-1"),
    ("A narrative has a head", _DIV.format("<head><title>a</title></head><p>a</p>"), "txt-1"),
    ("A narrative has a body", _DIV.format("<body><p>a</p></body>"), "txt-1"),
    ("A narrative has meta data", _DIV.format('<meta http-equiv="refresh" content="0"/><p>a</p>'), "txt-1"),
    ("A narrative has a video", _DIV.format('<p>a</p><video src="a.mp4"></video>'), "txt-1"),
    ("A narrative has an element of nobody's", _DIV.format("<p><blink>a</blink></p>"), "txt-1"),
    (
        "A narrative has an element of another namespace",
        _DIV.format('<svg xmlns="http://www.w3.org/2000/svg"><g/></svg>a'),
        "txt-1",
    ),
    ("A link is a script", _DIV.format('<a href="javascript:alert(1)">a</a>'), "txt-1"),
    ("An attribute is of nobody's", _DIV.format('<p data-x="1">a</p>'), "txt-1"),
    ("A narrative is empty", _DIV.format(""), "txt-2"),
    ("A narrative is empty, and in short", '<div xmlns="http://www.w3.org/1999/xhtml"/>', "txt-2"),
    ("A narrative has white space alone", _DIV.format(" \n <p> </p>"), "txt-2"),
    ("A narrative has a comment alone", _DIV.format("<!-- nothing -->"), "txt-2"),
    ("A narrative has no namespace", "<div><p>a</p></div>", _XHTML),
    ("A narrative has another namespace", '<div xmlns="http://hl7.org/fhir"><p>a</p></div>', _XHTML),
    ("A narrative has almost the namespace", '<div xmlns="http://www.w3.org/1999/xhtml/"><p>a</p></div>', _XHTML),
    ("A narrative begins with a paragraph", '<p xmlns="http://www.w3.org/1999/xhtml">a</p>', _XHTML),
    ("A narrative begins with html", '<html xmlns="http://www.w3.org/1999/xhtml"><body>a</body></html>', _XHTML),
    ("A narrative is plain text", "An order for a blood count", _XHTML),
    ("A narrative has two divs", _DIV.format("a") * 2, _XHTML),
    ("A narrative is not closed", '<div xmlns="http://www.w3.org/1999/xhtml"><p>a</p>', _XHTML),
    ("A paragraph is not closed", _DIV.format("<p>a"), _XHTML),
    ("A line break is not closed", _DIV.format("a<br>b"), _XHTML),
    ("Elements overlap", _DIV.format("<b>a<i>b</b></i>"), _XHTML),
    ("An attribute has no quotes", _DIV.format("<p class=a>a</p>"), _XHTML),
    ("An ampersand is bare", _DIV.format("salt & pepper"), _XHTML),
    (
        "A narrative reads a file",
        f'<!DOCTYPE div [<!ENTITY x SYSTEM "file:///etc/passwd">]>{_DIV.format("&x;")}',
        _XHTML,
    ),
    ("A narrative has entities of its own", f'<!DOCTYPE div [<!ENTITY x "y">]>{_DIV.format("&x;")}', _XHTML),
    ("A narrative has an entity that nobody knows", _DIV.format("&nobody;"), _XHTML),
    ("A narrative has a document type", f"<!DOCTYPE div>{_DIV.format('a')}", _XHTML),
]

NARRATIVES: list[Fault] = [
    *(fault(name, _RULES, spec, {"MessageHeader.text.div": div}, at="MessageHeader.text") for name, div, spec in _DIVS),
    fault(
        "The narrative of a contained resource has a script",
        _RULES,
        "txt-1",
        {"Task.contained[1].text": {"status": "generated", "div": _DIV.format("<script>x()</script>")}},
    ),
    fault(
        "A section's narrative has a script",
        _RULES,
        "txt-1",
        {
            "document.entry[0].resource.section[0].text": {
                "status": "generated",
                "div": _DIV.format("<script>x()</script>"),
            }
        },
    ),
    fault(
        "A narrative is an empty string",
        (*_RULES, "empty", "format", "cardinality-min"),
        _XHTML,
        {"MessageHeader.text.div": ""},
    ),
    fault(
        "A narrative is of no status that there is",
        "binding-required",
        "Narrative.status, http://hl7.org/fhir/ValueSet/narrative-status",
        {"Organization.text.status": "automatic"},
    ),
]

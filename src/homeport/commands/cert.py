"""``homeport cert``: the local authority's certificate, its fingerprint, and how each kind of device trusts it."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Sequence

from homeport.commands.arguments import Parser, fill_prose


def make_parser() -> Parser:
    """The command's own command line."""
    parser = Parser(
        "homeport cert",
        "Show the certificate that 'homeport --public' serves, and how a device trusts the authority that signs it. A device that trusts\n"
        "the authority once goes on trusting every renewed certificate.",
    )
    parser.add_argument("--names", metavar="NAMES", default="", help="names and addresses of this machine, as for 'homeport --public'")
    parser.add_argument("--print", action="store_true", help="print the authority's certificate (PEM) and nothing else")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Show it, made first when there is none yet; exit status 0.

    Raises:
        StoreFailed: it cannot be made.
    """
    given = make_parser().parse(arguments)

    from homeport.auth.addresses import machine_names
    from homeport.commands.listening import authority
    from homeport.errors import StoreFailed
    from homeport.folders import Folders
    from homeport.option_values import read_names

    ours = authority(Folders.from_environment())
    now = datetime.datetime.now(datetime.UTC)
    try:
        served = ours.serve(machine_names(read_names(given.names)), now=now) if given.names else ours.current(machine_names(()), now=now)
    except OSError as error:
        raise StoreFailed(f"The certificate cannot be made: {error.strerror}.") from None
    if given.print:
        print(ours.certfile.read_text("ascii"), end="")
        return 0
    print(f"Certificate of this machine   {served.certfile}, good until {served.expires:%d %B %Y} (it is renewed by itself)")
    print(f"It is for                     {', '.join(served.names)}")
    print(f"Its fingerprint (SHA-256)     {served.fingerprint}")
    print(f"The authority that signs it   {ours.certfile}")
    print(f"Its fingerprint (SHA-256)     {ours.fingerprint}")
    print("\n" + fill_prose(WHAT_TO_DO.format(authority=ours.certfile), shutil.get_terminal_size().columns) + "\n")
    print(HOW_TO_TRUST)
    return 0


WHAT_TO_DO = (
    "A browser that does not know the authority warns at the first visit. Compare the fingerprint that it shows with the one above, "
    "and go on; or have the device trust the authority, once and for good. Copy {authority} to it "
    "(it is not secret; 'homeport cert --print' prints it), as homeport.crt, and there:"
)

HOW_TO_TRUST = """\
Debian, Ubuntu    sudo cp homeport.crt /usr/local/share/ca-certificates/ && sudo update-ca-certificates
Fedora, RHEL      sudo cp homeport.crt /etc/pki/ca-trust/source/anchors/ && sudo update-ca-trust
Arch              sudo trust anchor homeport.crt
Chrome on Linux   certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n Homeport -i homeport.crt
Firefox           Settings > Privacy & Security > Certificates > View Certificates > Authorities > Import
macOS             security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db homeport.crt
Windows           certutil -user -addstore Root homeport.crt
iPhone, iPad      open the file, install the profile, then Settings > General > About > Certificate Trust Settings
Android           Settings > Security > Encryption & credentials > Install a certificate > CA certificate
Python, curl      REQUESTS_CA_BUNDLE=homeport.crt python ...      curl --cacert homeport.crt https://..."""

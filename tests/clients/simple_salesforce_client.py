"""Drives the simulator with simple-salesforce: signs in, queries over several batches, changes a user, meets a refusal.

Prints one JSON line with what it saw; any surprise is a non-zero exit.

Arguments: the JSON line that the simulator prints; the file with its certificate authority.

The library insists on https://<domain>.salesforce.com for signing in. An adapter sends what goes to that host to the
simulator instead; everything else is the library's own work.
"""

import json
import sys
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceExpiredSession, SalesforceMalformedRequest

DOMAIN = "acme.my"


class ToSimulator(HTTPAdapter):
    """Replaces the host of the vendor by that of the simulator."""

    def __init__(self, base: str):
        super().__init__()
        self.base = base

    def send(self, request, **options):
        parts = urlsplit(request.url)
        request.url = f"{self.base}{parts.path}" + (f"?{parts.query}" if parts.query else "")
        return super().send(request, **options)


def main() -> None:
    sim = json.loads(sys.argv[1])
    session = requests.Session()
    session.verify = sys.argv[2]
    # Certificate bundles and proxies named in the environment would go before the authority given here.
    session.trust_env = False
    session.mount(f"https://{DOMAIN}.salesforce.com", ToSimulator(sim["http"]))
    salesforce = Salesforce(
        consumer_key=sim["clientId"], consumer_secret=sim["clientSecret"], domain=DOMAIN, session=session, version="66.0"
    )
    assert salesforce.sf_instance == urlsplit(sim["http"]).netloc, salesforce.sf_instance

    users = salesforce.query_all("SELECT Id, Username, Name, Profile.Name, ManagerId FROM User ORDER BY Id")
    assert users["done"] and users["totalSize"] == len(users["records"])
    everybody = [record["Id"] for record in users["records"]]

    person = salesforce.query(
        "SELECT Id FROM User WHERE UserType = 'Standard' AND IsActive = true AND Profile.Name = 'Read Only' "
        "ORDER BY Id LIMIT 1"
    )["records"][0]["Id"]
    status = salesforce.User.update(person, {"Title": "Führungskraft", "Termination_Date__c": "2031-02-28"})
    assert status == 204, status
    read = salesforce.User.get(person)
    assert read["Title"] == "Führungskraft" and read["Termination_Date__c"] == "2031-02-28"

    described = salesforce.User.describe()
    assert any(field["name"] == "Termination_Date__c" for field in described["fields"])

    try:
        salesforce.query("SELECT Id FROM User WHERE IsActive = true AND Title = 'a' OR Title = 'b'")
        raise SystemExit("mixing AND with OR was accepted")
    except SalesforceMalformedRequest as refusal:
        assert refusal.content[0]["errorCode"] == "MALFORMED_QUERY", refusal.content

    try:
        other = Salesforce(instance_url=sim["http"], session_id="00Dwrong!token", session=session, version="66.0")
        other.query("SELECT Id FROM User LIMIT 1")
        raise SystemExit("a made-up token was accepted")
    except SalesforceExpiredSession as refusal:
        assert refusal.content[0]["errorCode"] == "INVALID_SESSION_ID", refusal.content

    limits = salesforce.limits()
    assert salesforce.api_usage["api-usage"].total == limits["DailyApiRequests"]["Max"]
    print(json.dumps({"users": len(everybody), "updated": person}))


if __name__ == "__main__":
    main()

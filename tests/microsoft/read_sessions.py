"""Reads the sessions of a tenant with Microsoft's own client, by the sessions report and by an export
job, and prints what it saw as JSON. The settings come as JSON on standard input."""

import asyncio
import csv
import io
import json
import ssl
import sys
import zipfile

import httpx
from azure.identity import ClientSecretCredential
from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
from msgraph_beta import GraphRequestAdapter, GraphServiceClient
from msgraph_beta.generated.device_management.reports.get_remote_assistance_sessions_report.get_remote_assistance_sessions_report_post_request_body import (  # noqa: E501
    GetRemoteAssistanceSessionsReportPostRequestBody as ReportRequest,
)
from msgraph_beta.generated.models.device_management_export_job import DeviceManagementExportJob
from msgraph_beta.generated.models.device_management_export_job_localization_type import (
    DeviceManagementExportJobLocalizationType as Localization,
)
from msgraph_beta.generated.models.device_management_report_file_format import (
    DeviceManagementReportFileFormat as Format,
)
from msgraph_beta.generated.models.device_management_report_status import DeviceManagementReportStatus as Status
from msgraph_core import APIVersion, GraphClientFactory

PAGE = 40
POLLS = 50
COLUMNS = ["SessionId", "Sessionstart", "Sessionend", "Attribute", "HelperDeviceAadId", "SharerDeviceAadId"]


def connect(settings, tls):
    """The client as its documentation sets it up, with another authority and another Graph."""
    credential = ClientSecretCredential(
        settings["tenant_id"],
        settings["client_id"],
        settings["client_secret"],
        authority=settings["url"],
        disable_instance_discovery=True,
        connection_verify=settings["ca_file"],
    )
    authentication = AzureIdentityAuthenticationProvider(
        credential, scopes=[settings["url"] + "/.default"], allowed_hosts=["localhost"]
    )
    http = httpx.AsyncClient(verify=tls, base_url=settings["url"] + "/beta", timeout=30)
    http = GraphClientFactory.create_with_default_middleware(api_version=APIVersion.beta, client=http)
    adapter = GraphRequestAdapter(authentication, http)
    adapter.base_url = settings["url"] + "/beta"
    return GraphServiceClient(request_adapter=adapter)


async def by_report(reports):
    """Every row of the sessions report, page by page."""
    rows, total, session_id = [], None, None
    while total is None or len(rows) < total:
        request = ReportRequest(skip=len(rows), top=PAGE, session_id=session_id)
        page = json.loads(await reports.get_remote_assistance_sessions_report.post(request))
        total, session_id = page["TotalRowCount"], page["SessionId"]
        columns = [column["Column"] for column in page["Schema"]]
        if not page["Values"]:
            raise SystemExit(f"the report ends at {len(rows)} of {total} rows")
        rows += [dict(zip(columns, cells, strict=True)) for cells in page["Values"]]
    return rows


async def by_export(reports, tls):
    """Every row of the CSV of an export job."""
    wanted = DeviceManagementExportJob(
        report_name="RemoteAssistanceSessions",
        format=Format.Csv,
        select=COLUMNS,
        localization_type=Localization.LocalizedValuesAsAdditionalColumn,
    )
    job = await reports.export_jobs.post(wanted)
    for _ in range(POLLS):
        if job.status == Status.Completed:
            break
        job = await reports.export_jobs.by_device_management_export_job_id(job.id).get()
    else:
        raise SystemExit(f"the job stays {job.status}")
    # Without the token: the address carries its own signature.
    async with httpx.AsyncClient(verify=tls) as http:
        answer = (await http.get(job.url)).raise_for_status()
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        [name] = archive.namelist()
        text = archive.read(name).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def seen(rows):
    """The ended sessions: the type by the id."""
    absent = (None, "", "--")
    ended = [row for row in rows if row["Sessionend"] not in absent and not row["Sessionend"].startswith("0001-01-01")]
    return {row["SessionId"]: None if row["Attribute"] in absent else row["Attribute"] for row in ended}


async def main():
    settings = json.load(sys.stdin)
    tls = ssl.create_default_context(cafile=settings["ca_file"])
    reports = connect(settings, tls).device_management.reports
    report, export = await by_report(reports), await by_export(reports, tls)
    json.dump({"report": seen(report), "export": seen(export)}, sys.stdout)


asyncio.run(main())

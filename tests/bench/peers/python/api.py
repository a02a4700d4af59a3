"""The API call, through the official SDK, for all peers in Python."""

import os
import threading

from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.ssl.v20191205 import models, ssl_client

# The CA is busy, the backend failed, or the rate is over the limit: no order was placed, or a retry is safe.
RETRIABLE = ("FailedOperation.NetworkError", "InternalError.BackendResponseError", "RequestLimitExceeded")

_clients = threading.local()


class Retriable(Exception):
    """Worth another try."""


class Refused(Exception):
    """Not worth another try."""


def _client():
    # One client per thread: the SDK doesn't promise that a client can be shared.
    if not hasattr(_clients, "client"):
        scheme, host = os.environ["BENCH_ENDPOINT"].split("://")
        http = HttpProfile(protocol=scheme, endpoint=host, keepAlive=True)
        keys = Credential(os.environ["TENCENTCLOUD_SECRET_ID"], os.environ["TENCENTCLOUD_SECRET_KEY"])
        _clients.client = ssl_client.SslClient(keys, "", ClientProfile(httpProfile=http, language="en-US"))
    return _clients.client


def commit(certificate_id):
    """Commits a certificate, and returns its order, status and request ID."""
    request = models.CommitCertificateInformationRequest()
    request.CertificateId = certificate_id
    try:
        reply = _client().CommitCertificateInformation(request)
    except TencentCloudSDKException as error:
        kind = Retriable if error.get_code().startswith(RETRIABLE) else Refused
        raise kind(f"{error.get_code()}: {error.get_message()}") from None
    return reply.OrderId, reply.Status, reply.RequestId

"""Tests for what a server's error means, by its codes and words. Pure; loaded only when a request fails.

The table of rules in ``rules`` uses these tests.

Source: the error messages of the providers that ``tests/client/test_rules.py`` names.
"""

import re

from .matching import Searchable, both, either, has_code, has_status, no, quotes, says

# Limits. The period of a limit decides what to do: wait for one per minute, stop for one per day.

#: Words for a limit that soon allows another request: per second or minute, or of requests at the same time.
_SHORT_PERIOD = (
    r"per[ _-]?(?:min(?:ute)?|sec(?:ond)?)\b|perminute|persecond|/ ?min(?:ute)?\b|(?<![a-z])[rt]p[ms](?![a-z])|byminute|per 60s|\bqps\b|request rate|slow down"
    r"|concurren|token-limit"
)
#: Words for a limit that may refuse requests for hours or days.
_LONG_PERIOD = (
    r"per[ _-]?(?:day|week|month)\b|perday|permonth|/ ?(?:day|week|month)\b|\b(?:daily|weekly|monthly|hourly|today(?:'s)?)\b|(?<![a-z])[rt]pd(?![a-z])"
    r"|byday\b|bymonth\b|per 86400s|\b24[- ]?h(?:ours?)?\b|\b[0-9]+[- ]hour\b"
)
_LIMIT = r"limit(?:s|ed)?\b|quota|allocation|allowance|used up|too many (?:tokens|requests)"
_USED_UP = r"exceed|reach|\bhit\b|used up|exhaust|too many"


def _is_limit_per_long_period(error: Searchable) -> bool:
    """Whether a limit per some hours, or per day, week or month, is used up.

    Gemini names the quota in a field. Elsewhere the first period in the text counts, because OpenRouter's message continues
    with an offer of more requests per day.
    """
    if any("perday" in code for code in error.codes):
        return True
    near = rf"(?:{_LONG_PERIOD})[^.:]{{0,50}}?(?:{_LIMIT})|(?:{_LIMIT})[^.]{{0,80}}?(?:{_LONG_PERIOD})"
    if error.status not in {200, 400, 402, 403, 429} or not re.search(near, error.prose):
        return False
    if error.status != 429 and not re.search(_USED_UP, error.prose):
        return False
    long, short = re.search(_LONG_PERIOD, error.prose), re.search(_SHORT_PERIOD, error.prose)
    return long is not None and (short is None or long.start() < short.start())


is_usage_limit = either(
    has_code("baseresp2056", "usagelimitreached", "dailylimitexceeded", "monthlylimitexceeded", "quotaperday"),
    says(
        r"(?:reached|exceeded|hit) your (?:specified |\w+ )?(?:api )?usage limits?|usage limit (?:reached|exceeded|has been)"
        r"|used up your daily"
    ),
    _is_limit_per_long_period,
)
_is_no_credits_code = has_code(
    "insufficientquota", "insufficientbalance", "insufficientcredits", "insufficientuserquota", "insufficientfunds",
    "billingerror", "billingnotactive", "billinghardlimitreached", "billingdisabled", "arrearage", "accountoverdueerror",
    "paymentrequired", "creditsexhausted", "exceededcurrentquotaerror", "preconsumetokenquotafailed", "budgetexceeded",
    "allocationquotafreetieronly", "baseresp1008", "1113", "30001",
)  # fmt: skip
_says_no_credits = says(
    r"credit balance|(?:insufficient|not enough|no|out of|more|available) (?:credits?|funds|balance|account balance)\b"
    r"|balance (?:is |was )?(?:too low|insufficient|not enough|exhausted|negative)|insufficient[ _](?:balance|quota|credit)"
    r"|credits? (?:have |has |are |is )?(?:been )?(?:exhausted|used up|expired|depleted)"
    r"|exceeded your (?:current quota|monthly included credits|credit)|credit limit (?:exceeded|reached)"
    r"|(?:monthly )?spend(?:ing)? (?:limit|cap)|billing (?:hard )?limit|requires billing|billing to be enabled"
    r"|budget has been exceeded|exceeded (?:the |your )?budget|in arrears|(?:account|payment|bill)[^.]{0,30}\boverdue|account (?:is )?not in good standing"
    r"|make sure your account is in good standing|quota is not enough|free (?:tier|quota) (?:of the model )?has been"
    r"|key limit exceeded \(total|payment required|please (?:recharge|top up)|purchase (?:more )?credits"
    r"|余额不足|欠费|额度不足|额度已用尽|请充值|无可用资源包"  # Zhipu, one-api
)
_says_balance = says("balance|credit|recharge|suspended|spending")
_is_throttle_code = has_code(
    "ratelimit", "ratelimited", "ratelimiterror", "ratelimitexceeded", "ratelimitreached", "ratelimitreachederror",
    "toomanyrequests", "throttling", "throttlingexception", "throttlingratequota", "throttlingallocationquota",
    "throttlingburstrate", "overloaded", "overloadederror", "engineoverloadederror", "resourceexhausted", "serveroverloaded",
    "servicetiercapacityexceeded", "capacityexceeded", "baseresp1002", "baseresp1039", "baseresp1041", "1302", "1303", "1305",
)  # fmt: skip
says_throttled = says(
    r"rate[ _-]?limit\w*[^.]{0,60}?\b(?:exceed|reach|hit\b|trigger)|(?:exceed|reach|hit )\w*[^.]{0,60}?\brate[ _-]?limit"
    r"|\brate[ -]limit(?:ed|ing)\b|too many (?:concurrent |simultaneous )?(?:requests|connections)\b|\bthrottl(?:ed|ing)\b"
    r"|\boverloaded\b|request rate increased|(?:at|no|out of|insufficient) capacity|capacity (?:temporarily )?exceeded"
    r"|(?:server|service|system|engine|model) is (?:currently )?(?:busy|overloaded)|too many tokens, please wait"
    r"|频率(?:限制|过高|超)|速率限制|并发(?:数|量)?(?:过高|超|限制)|过于频繁|负载已饱和"
)
#: OpenAI and Groq: one request has more tokens than the limit per minute, so waiting does not help.
is_larger_than_limit = says(r"request too large for|requested [0-9,]+ tokens[^.]{0,40}exceeds the (?:tpm|rate) limit")

is_throttling_worded_as_quota = both(
    either(_is_no_credits_code, _says_no_credits),
    either(has_code("insufficientquota", "throttlingallocationquota"), has_status(429)),
    either(
        quotes(rf"{_SHORT_PERIOD}|(?:retry|try again) (?:in|after) [0-9]"),
        lambda error: any("perminute" in code for code in error.codes),
    ),
    no(either(is_usage_limit, _says_balance, says(r"limit: 0\b"))),
)
_is_limit_per_short_period = both(
    says(_USED_UP),
    says(rf"(?:{_LIMIT})[^.]{{0,80}}?(?:{_SHORT_PERIOD})|(?:{_SHORT_PERIOD})[^.]{{0,50}}?(?:{_LIMIT})"),
)
_says_quota_exceeded = both(
    has_status(400, 403),
    says(r"quota (?:has been |is )?exceeded|exceed\w* (?:your |the |its |user )*quota"),
    no(_is_limit_per_short_period),
)
is_no_credits = both(
    either(has_status(402), _is_no_credits_code, _says_no_credits, _says_quota_exceeded),
    no(both(is_usage_limit, no(either(has_status(402), _says_balance)))),
)
is_throttled = either(has_status(429), _is_throttle_code, says_throttled, _is_limit_per_short_period)

# Links

_is_about_link = both(
    either(
        quotes(r"(?:download|fetch|retriev)\w*[^.]{0,60}?\b(?:url|link|media|image|file|content|resource|https?)\b"),
        has_code("invalidimageurl"),
    ),
    quotes(r"\b(?:time[d ]?[ -]?out|failed|error|unable|could ?n[o']t|cannot|can't|failure)\b"),
)
is_link_timeout = both(
    _is_about_link,
    quotes(
        r"time[d ]?[ -]?out|deadline exceeded|status(?: code)?:? ?(?:429|5[0-9][0-9])|temporar|connection (?:reset|refused|error)"
    ),
)
is_link_failure = both(_is_about_link, lambda error: error.status < 500)

# Keys and permissions

_KEY = r"(?:api|access|auth|secret|subscription|x-api)[ _-]?(?:secret[ _-]?)?(?:key|token)s?"
_is_key_code = has_code(
    "invalidapikey", "apikeyinvalid", "incorrectapikey", "incorrectapikeyerror", "authenticationerror", "unauthenticated",
    "unauthorized", "invalidauthenticationerror", "autherror", "authenticationfailed", "unrecognizedclientexception",
    "expiredtokenexception", "accountdeactivated", "organizationrestricted", "apikeyserviceblocked", "servicedisabled",
    "invalidsignatureexception", "baseresp1004", "baseresp2049",
)  # fmt: skip
_says_key_refused = either(
    says(
        rf"\b(?:invalid|incorrect|wrong|missing|malformed|expired|revoked|no)\W+(?:\w+\W+){{0,2}}?{_KEY}\b"
        rf"|\b{_KEY}\b[^.]{{0,60}}?\b(?:not valid|invalid|incorrect|expired|not found|missing|required|revoked|disabled"
        r"|deactivated|does ?n[o']t exist|leaked|not provided|blocked|suspended|inactive)\b"
        rf"|did(?:n't| not) provide an? {_KEY}|\b(?:provide|pass|include|supply|carry|set)\b[^.]{{0,20}}?\b{_KEY}\b"
        r"|\b(?:invalid|incorrect|missing|no|bad|expired)\W+(?:\w+\W+)?(?:credentials?|authentication|authorization|bearer)\b"
        r"|not (?:been )?authenticated\b|authentication (?:has )?(?:fail|error|required|is required|token)|authentication fails"
        r"|(?:^|[:;] )unauthori[sz]ed|\bunauthenticated\b|token (?:is |has )?(?:been )?(?:expired|revoked|incorrect)"
        r"|login fail|security token[^.]{0,60}(?:invalid|expired)|unregistered callers"
        r"|account[^.]{0,60}(?:deactivated|suspended|disabled)|access was terminated|(?:organization|account|key) has been restricted"
        r"|(?:wrong|bad) api|invalid (?:username|user) or password|unable to authenticate|authorization failed"
        r"|(?:^|: )(?:invalid token|token is invalid)\b(?! [^. ])|身份验证失败|令牌(?:已过期|验证|无效|不正确|不合法)|无效的令牌|鉴权失败"
    ),
    quotes(r"x-api-key"),
)
is_not_permitted = either(
    has_code("permissiondenied", "permissionerror", "insufficientpermissions", "consumerinvalid"),
    says(
        r"insufficient permission|missing scope|not authorized to perform|(?:does not|doesn't) have (?:the )?permission"
        r"|lacks? (?:the )?permission|permission \S+ denied|key[^.]{0,40}(?:not allowed|no access|not have access)"
        r"|(?:has|have) not been used in project|api[^.]{0,40}is (?:blocked|disabled)"
    ),
)
is_key_refused = either(
    _is_key_code,
    _says_key_refused,
    both(
        has_status(403),
        says(r"\b(?:invalid|incorrect|wrong|expired|unknown) key\b|\bkey (?:is )?(?:invalid|expired|unknown)"),
    ),
)
is_region_refused = either(
    has_code("unsupportedcountryregionterritory"), says(r"(?:country|region|territory|location) (?:is )?not supported")
)

# Models

_MODEL_NAME = r"(?:\W{1,3}(?:id|name|code|identifier|deployment|or endpoint)\b)?(?:\W{0,3}…\W{0,3}|\W+[\w.:@/-]+)?"
is_unknown_model = either(
    has_code(
        "modelnotfound",
        "modelnotfounderror",
        "invalidmodel",
        "unknownmodel",
        "modelnotexist",
        "modelnotavailable",
        "modelnotsupported",
        "modeldecommissioned",
        "deploymentnotfound",
        "invalidendpointormodelnotfound",
        "modelnotopen",
        "modelaccessdenied",
        "1211",
        "20012",
    ),
    says(
        rf"\bmodel{_MODEL_NAME}\W+(?:(?:does ?n[o']t|do not|not) exist|(?:(?:was|is|could|can) ?(?:not|n't)(?: be)?|not) found"
        r"|has been (?:decommissioned|removed|retired|deprecated)|is not a valid)"
        r"|\b(?:unknown|no such|invalid|unsupported) model\b(?=\W*$|[.:,;(!]| (?:name|id|code|identifier|specified|provided|requested|…)|\W+\S+\W*$)"
        r"|not a valid model|model identifier is invalid|invalid model (?:name|id)|resolve the foundation model"
        r"|requested model[^.]{0,60}not supported|no endpoints found for|no models? (?:is |are )?(?:loaded|available)"
        r"|unable to access (?:non-serverless )?model|(?:not|n't) have access to (?:the |this |it\b|model)|access to model"
        r"|with on-demand throughput|only access models|deployment for this resource does not exist|\bno such model\b|function …: not found"
        r"|模型不存在|无可用渠道"
    ),
    both(has_status(404), says(r"^(?:\W*not found\W*)?model(?::|s/)")),
)
is_not_routable = both(
    has_status(404, 503),
    says(r"no (?:endpoints|allowed providers|providers?)\b[^.]{0,80}(?:policy|selected|available)"),
)
#: A kind of input that the model does not accept; "images larger than …" and "image URLs" are excluded below.
_IMAGES = r"(?:an? |the |any )?(?:image|vision|visual|multi-?modal|image_url)s?"
is_no_vision = either(
    has_code("modeldoesnotsupportimage", "imagenotsupported", "20041"),
    quotes(
        rf"(?:(?:not|n't|without|no) support(?:s|ed|ing)?|\bdo(?:es)?(?: not|n't) (?:accept|handle|process|allow)) (?:for )?{_IMAGES}"
        r"(?:[ _-](?:input|content|modality|understanding|capabilit|message|field|part|block)\w*)*"
        r"(?!\w| (?:larger|bigger|smaller|of|in|with|via|over|from|by|that|whose|format|url|link|type)|/)"
        r"|\bimage[ _-](?:(?:inputs?|content|modality|understanding|parts?|blocks?)[ _-]?){1,3}(?:for [^.]{1,80}? )?"
        r"(?:is |are )?(?:not|n't) (?:supported|enabled|allowed|available)(?! (?:format|type))"
        r"|\b(?:vision|multi-?modal)\w*(?: inputs?| content)? (?:is|are) not (?:supported|enabled|available|allowed)"
        r"|content (?:part )?type\W{1,3}image(?:_url)?\b|type: input should be 'text'"
        r"|\bimages are not (?:supported|allowed)|image_url is only supported by|support image input"
        r"|not a (?:multi-?modal|vision|vlm)\b|is not a vlm|missing data required for image input|\bmmproj\b"
        r"|unknown variant `image_url`|content must be a string|only '?text'? content|at most 0 images?"
        r"|type image_url is not supported|does not support vision|text-only model"
    ),
)

# Requests that the model cannot take as they are

is_stream_required = both(
    either(
        has_code("streamrequired", "streamingrequired"),
        quotes(
            r"\bstream(?:ing)?\b\W{0,3}(?:parameter )?\W{0,2}(?:must|has to|needs to|should) be\W{1,3}(?:set to\W{1,3})?"
            r"(?:true|enabled)|(?:must have|requires?|needs?) stream\W{0,3}true|only supports? (?:the )?stream|only stream\w* (?:is|are) |stream\W{1,3}false\W+(?:is )?(?:not|un)|set\W{1,3}stream\W{1,4}(?:to )?true"
            r"|(?:please (?:enable|use)|requires?|must use) (?:the )?(?:stream(?:ing)? (?:parameter|mode|output|call)|streaming\b)"
            r"|non-?stream\w*[^.]{0,60}(?:not|n't|un)[ -]?(?:support|allow)|not support (?:the )?non-?stream"
            r"|for non-?streaming (?:calls|requests)|streaming is required|requests? must be streamed"
            r"|does not support http call"
        ),
    ),
    no(quotes(r"stream[_ ]options")),
)
is_too_long = either(
    has_code(
        "contextlengthexceeded",
        "exceedcontextsizeerror",
        "contextwindowexceedederror",
        "contextwindowexceeded",
        "modelcontextwindowexceeded",
        "modelmaxprompttokensexceeded",
        "tokenslimitreached",
        "contextoverflow",
        "1261",
    ),
    says(
        r"(?:maximum|max\.?|available|exceed\w*|longer than|greater than|larger than|fit into|fits?|only)\b[^.]{0,60}?"
        r"\bcontext[ _-]?(?:length|window|size|limit)|\bcontext[ _-]?(?:length|window|size|limit)[^.]{0,60}?"
        r"\b(?:exceed|is only|too (?:small|short)|overflow|of only)"
        r"|(?:prompt|input|message|request)s? (?:is |are )?too (?:long|many tokens)|input length should be|max_seq_len"
        r"|(?:input|prompt) (?:length|token count|tokens?)\b[^.]{0,60}?\bexceed|token count[^.]{0,40}exceeds"
        r"|exceeded model token limit|maximum (?:prompt|model) length|reduce the length of (?:the|your)"
        r"|reduce (?:the )?(?:number of )?(?:input )?tokens|context overflow|when context the overflows|prompt exceeds max"
        r"|too many (?:input |prompt )?tokens|must have less than [0-9,]+ tokens|tokens? \+ \S+ must be <="
        r"|requires more tokens than|total tokens limit|current length is [0-9,]+ while limit"
    ),
    quotes(r"`max_new_tokens` must be <=|`inputs` must have less than|n_keep\b[^.]{0,20}n_ctx"),
)
is_too_many_tokens_requested = quotes(
    r"supports at most [0-9,]+ completion tokens|maximum allowed number of output tokens|tokens you requested exceeds"
    r"|max(?:_completion)?_tokens\b[^.]{0,80}?(?:less than or equal to|\[[0-9]+, ?[0-9]+\]|cannot exceed|must not exceed)"
)
is_too_many_images = either(
    has_code("toomanyimages"),
    says(
        r"too many images|only (?:one|a single|[0-9]+) images?\b|(?:at most|up to|maximum of|max(?:imum)?(?: is)?|only supports?|exceed\w*|fewer than|limit of) "
        r"(?:[0-9,]+|one|a single) images?\b|more than (?:[0-9,]+|one) images?\b|number of images[^.]{0,40}exceed"
        r"|images?[^.]{0,20}per (?:request|prompt|message)\b[^.]{0,20}(?:limit|exceed|max)"
    ),
    quotes(r"limit-mm-per-prompt"),
)
is_too_large = either(
    has_code("requesttoolarge", "payloadtoolarge", "imagetoolarge"),
    has_status(413),
    says(
        r"(?:request|payload|body|image|file)(?: entity| body| size)?(?: is)? too large|exceed\w* limit on max bytes"
        r"|image exceeds [0-9.]+ ?[mk]?i?b|(?:image|request|body|payload|file)[^.]{0,40}exceeds? the (?:maximum |max )?(?:allowed )?"
        r"(?:size|limit)|image dimensions? exceed|multimodal file size is too large"
    ),
)
_is_content_refused = either(
    has_code(
        "contentpolicyviolation",
        "contentfilter",
        "contentfiltered",
        "responsibleaipolicyviolation",
        "contentpolicy",
        "datainspectionfailed",
        "moderation",
        "moderationerror",
        "safety",
        "prohibitedcontent",
        "sensitivecontentdetected",
        "inputimagesensitivecontentdetected",
        "inputtextsensitivecontentdetected",
        "contentmoderation",
        "baseresp1026",
        "baseresp1027",
        "1301",
        "guardrailintervened",
        "moderationblocked",
    ),
    says(
        r"content[ _]policy|content management policy|content[ _-]filter|content rules|\bmoderation\b|safety (?:system|filter)"
        r"|safety (?:polic|guideline|setting|check|reason)|\b(?:input|prompt|request|content|image|text|output)s? "
        r"(?:was |were |has been |have been |is |are )?flagged|flagged (?:by|for)\b|inappropriate content|usage (?:polic|guideline)"
        r"|(?<!case[ -])sensitive (?:content|information|words?)|input new_sensitive|prohibited content|considered high risk|guardrail"
        r"|unsafe (?:content|or)|violat\w+ [^.]{0,60}?(?:polic|terms|guideline)|data may contain"
        r"|不安全|敏感(?:内容|信息|词)"
    ),
)
is_content_refused = both(
    _is_content_refused,
    no(says(r"account (?:\w+ ){0,4}(?:deactivated|suspended|disabled|terminated|banned)|access was terminated")),
)
is_temporary_in_stream = either(
    _is_throttle_code,
    has_code(
        "internalerror",
        "internalservererror",
        "servererror",
        "apierror",
        "timeout",
        "timeouterror",
        "upstreamerror",
        "serviceunavailable",
        "unavailable",
        "baseresp1000",
        "baseresp1001",
        "baseresp1013",
        "baseresp1024",
        "baseresp1033",
    ),
    says(
        r"\boverload|\bbusy\b|internal (?:server )?error|temporar|timed? ?out\b|try again|unavailable|rate.?limit|connection (?:reset|lost)"
    ),
)
#: nginx, Go and Apache
is_https_expected = says(
    r"plain http request was sent to https|sent an http request to an https server|plain http to an ssl|https is required"
)

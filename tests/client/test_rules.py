"""What to do next after an error: a row for each wording of a named provider, with its status and its body."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from qubrid_cli.client.errors.body import parse_error_body
from qubrid_cli.client.errors.rules import build_error
from qubrid_cli.errors import AuthError, ConnectionSetupError, ContextOverflow, EndpointError


@dataclass(frozen=True)
class Row:
    """A response, and what it must become.

    Attributes:
        code: ``None`` where the server's own code is kept.
        fate: ``fatal`` ends a batch, ``temporary`` is tried again, ``single`` fails only this request.
        wait: seconds.
    """

    provider: str
    status: int
    body: Any
    fate: str
    code: str | None = None
    kind: type[EndpointError] = EndpointError
    wait: float | None = None
    headers: dict[str, str] = field(default_factory=dict)


def openai(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def vllm(message: str, code: int = 400) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": code}


def openrouter(code: int, raw: Any, provider: str) -> dict[str, Any]:
    metadata = {"raw": raw if isinstance(raw, str) else json.dumps(raw), "provider_name": provider}
    return {"error": {"message": "Provider returned error", "code": code, "metadata": metadata}, "user_id": "user_1"}


def gemini(status: int, message: str, name: str, *details: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"error": {"code": status, "message": message, "status": name, "details": list(details)}}]


def quota(quota_id: str, seconds: str) -> tuple[dict[str, Any], dict[str, Any]]:
    kind = "type.googleapis.com/google.rpc."
    violation = {"quotaMetric": "generativelanguage.googleapis.com/generate_requests", "quotaId": quota_id}
    return (
        {"@type": f"{kind}QuotaFailure", "violations": [violation]},
        {"@type": f"{kind}RetryInfo", "retryDelay": seconds},
    )


GEMINI_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, head "
    "to: https://ai.google.dev/gemini-api/docs/rate-limits. * Quota exceeded for metric: "
    "generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 15 Please retry in 32.6s."
)
OPENAI_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, read "
    "the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)

KEYS = [
    Row("OpenAI", 401, openai("Incorrect API key provided: sk-12***34.", "invalid_api_key"), "fatal", kind=AuthError),
    Row("Anthropic", 401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}, "fatal", kind=AuthError),
    Row("Gemini", 400, gemini(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}), "fatal", "API_KEY_INVALID", AuthError),
    Row("Gemini, without a key", 403, gemini(403, "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.", "PERMISSION_DENIED"), "fatal", kind=AuthError),
    Row("Gemini, a leaked key", 403, gemini(403, "Your API key was reported as leaked. Please use another API key.", "PERMISSION_DENIED"), "fatal", kind=AuthError),
    Row("xAI", 400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***yz. You can obtain an API key from https://console.x.ai."}, "fatal", kind=AuthError),
    Row("DeepSeek", 401, openai("Authentication Fails, Your api key: ****1234 is invalid", "invalid_request_error", "authentication_error"), "fatal", kind=AuthError),
    Row("DashScope", 401, {"error": {"message": "Incorrect API key provided. ", "type": "invalid_request_error", "code": "invalid_api_key"}, "request_id": "r"}, "fatal", kind=AuthError),
    Row("MiniMax", 200, {"base_resp": {"status_code": 1004, "status_msg": "login fail: Please carry the API secret key in the 'Authorization' field of the request header"}}, "fatal", kind=AuthError),
    Row("Zhipu", 401, {"error": {"code": "1002", "message": "token expired or incorrect"}}, "fatal", kind=AuthError),
    Row("Azure", 401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key."}}, "fatal", kind=AuthError),
    Row("FastAPI", 403, {"detail": "Not authenticated"}, "fatal", kind=AuthError),
    Row("LiteLLM", 500, openai("litellm.AuthenticationError: OpenAIException - Incorrect API key provided: sk-1", None, "None"), "fatal", kind=AuthError),
    Row("Bedrock", 403, {"__type": "com.amazon.coral.service#UnrecognizedClientException", "message": "The security token included in the request is invalid."}, "fatal", kind=AuthError),
    Row("OpenAI, a restricted key", 403, openai("You have insufficient permissions for this operation. Missing scopes: model.request."), "fatal", kind=AuthError),
    Row("Groq", 400, openai("Organization has been restricted. Please reach out to support if you believe this was in error.", "organization_restricted"), "fatal", kind=AuthError),
    Row("NVIDIA", 401, {"status": 401, "title": "Unauthorized", "detail": "Authentication failed"}, "fatal", kind=AuthError),
    Row("Cloudflare", 401, {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}], "messages": []}, "fatal", kind=AuthError),
    Row("NVIDIA, forbidden", 403, {"status": 403, "title": "Forbidden", "detail": "Authorization failed"}, "fatal", kind=AuthError),
    Row("SiliconFlow", 403, "Invalid token", "fatal", kind=AuthError),
    Row("Cerebras", 401, {"message": "Wrong API Key", "type": "invalid_request_error", "code": "wrong_api_key"}, "fatal", kind=AuthError),
    Row("Fireworks", 403, {"error": "unauthorized"}, "fatal", kind=AuthError),
    Row("LiteLLM, without a key", 400, openai("Authentication Error, No api key passed in."), "fatal", kind=AuthError),
    Row("Together", 400, openai("Invalid API key provided. You can find your API key at https://api.together.xyz/settings/api-keys."), "fatal", kind=AuthError),
    Row("a gateway", 403, {"message": "Forbidden: invalid key"}, "fatal", kind=AuthError),
    Row("OpenRouter", 401, {"error": {"message": "User not found.", "code": 401}}, "fatal", kind=AuthError),
]  # fmt: skip
CREDITS = [
    Row("OpenAI", 429, openai(OPENAI_QUOTA, "insufficient_quota", "insufficient_quota"), "fatal", "insufficient_quota"),
    Row("Anthropic", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}, "fatal", "insufficient_quota"),
    Row("DeepSeek", 402, openai("Insufficient Balance", "invalid_request_error", "unknown_error"), "fatal", "insufficient_quota"),
    Row("OpenRouter", 402, {"error": {"message": "This request requires more credits, or fewer max_tokens. You requested up to 16384 tokens, but can only afford 2666.", "code": 402}}, "fatal", "insufficient_quota"),
    Row("SiliconFlow", 403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}, "fatal", "insufficient_quota"),
    Row("DashScope", 400, {"error": {"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing.", "type": "Arrearage"}}, "fatal", "insufficient_quota"),
    Row("DashScope, free tier", 403, {"code": "AllocationQuota.FreeTierOnly", "message": "The free tier of the model has been exhausted. If you wish to continue access the model on a paid basis, please disable the 'use free tier only' mode."}, "fatal", "insufficient_quota"),
    Row("MiniMax", 200, {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "fatal", "insufficient_quota"),
    Row("Moonshot", 429, openai("Your account org-1 is suspended due to insufficient balance, please recharge your account or check your plan and billing details", None, "exceeded_current_quota_error"), "fatal", "insufficient_quota"),
    Row("xAI", 403, {"code": "The caller does not have permission to execute the specified operation", "error": "Your team 1 has either used all available credits or reached its monthly spending limit. To continue making API requests, please purchase more credits or raise your spending limit."}, "fatal", "insufficient_quota"),
    Row("LiteLLM", 400, openai("Budget has been exceeded! Current cost: 1.2, Max budget: 1.0", "400", "budget_exceeded"), "fatal", "insufficient_quota"),
    Row("Hugging Face", 402, {"error": "You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO to get 20x more monthly included credits."}, "fatal", "insufficient_quota"),
    Row("Fireworks", 412, {"error": {"message": "Account a is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices", "code": "PRECONDITION_FAILED"}}, "fatal", "insufficient_quota"),
    Row("Zhipu", 429, {"error": {"code": "1113", "message": "Insufficient balance or no resource package. Please recharge."}}, "fatal", "insufficient_quota"),
    Row("a gateway", 403, {"message": "quota exceeded"}, "fatal", "insufficient_quota"),
    Row("one-api", 403, openai("user quota is not enough", "insufficient_user_quota", "one_api_error"), "fatal", "insufficient_quota"),
    Row("Vertex", 403, gemini(403, "This API method requires billing to be enabled. Please enable billing on project #1", "PERMISSION_DENIED"), "fatal", "insufficient_quota"),
]  # fmt: skip
LIMITS = [
    Row("OpenAI", 429, openai("Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 1.2s. Visit https://platform.openai.com/account/rate-limits to learn more.", "rate_limit_exceeded", "tokens"), "temporary", wait=1.2),
    Row("OpenAI, milliseconds", 429, openai("Rate limit reached for gpt-4o on requests per min (RPM): Limit 500. Please try again in 120ms.", "rate_limit_exceeded", "requests"), "temporary", wait=0.12),
    Row("Groq", 429, openai("Rate limit reached for model `m` in organization `o` on tokens per minute (TPM): Limit 6000, Used 5000, Requested 2000. Please try again in 10.5s.", "rate_limit_exceeded", "tokens"), "temporary", wait=11, headers={"retry-after": "11"}),
    Row("Groq, a day", 429, openai("Rate limit reached for model `m` in organization `o` service tier `on_demand` on tokens per day (TPD): Limit 100000, Used 99000, Requested 2000. Please try again in 9m38s. Need more tokens? Upgrade to Dev Tier today", "rate_limit_exceeded", "tokens"), "fatal", "usage_limit", wait=578, headers={"retry-after": "578"}),
    Row("OpenRouter, a day", 429, {"error": {"message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day", "code": 429, "metadata": {"headers": {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0"}}}}, "fatal", "usage_limit", wait=3600, headers={"x-ratelimit-reset": "3600", "x-ratelimit-remaining": "0"}),
    Row("a server with a broken clock", 429, {"message": "Daily limit reached"}, "fatal", "usage_limit", headers={"retry-after": "99999999"}),
    Row("OpenRouter, a minute", 429, {"error": {"message": "Rate limit exceeded: free-models-per-min. Add 10 credits to unlock 1000 free model requests per day", "code": 429}}, "temporary"),
    Row("OpenRouter, a key's month", 403, {"error": {"message": "Key limit exceeded (monthly limit). Manage it using https://openrouter.ai/settings/keys", "code": 403}}, "fatal", "usage_limit"),
    Row("OpenRouter, the provider", 429, openrouter(429, "google/gemini-2.0-flash-exp:free is temporarily rate-limited upstream. Please retry shortly.", "Google"), "temporary"),
    Row("Gemini, a minute", 429, gemini(429, GEMINI_QUOTA, "RESOURCE_EXHAUSTED", *quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "32s")), "temporary", wait=32),
    Row("Gemini, only text", 429, gemini(429, GEMINI_QUOTA, "RESOURCE_EXHAUSTED"), "temporary", wait=32.6),
    Row("Gemini, a day", 429, gemini(429, GEMINI_QUOTA, "RESOURCE_EXHAUSTED", *quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "32s")), "fatal", "usage_limit"),
    Row("Vertex", 429, gemini(429, "Resource exhausted. Please try again later.", "RESOURCE_EXHAUSTED"), "temporary"),
    Row("Azure", 429, {"error": {"code": "429", "message": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-02-01 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 60 seconds. Please go here: https://aka.ms/oai/quotaincrease"}}, "temporary", wait=60),
    Row("DashScope", 429, {"error": {"message": "You exceeded your current quota, please check your plan and billing details. For details, see: https://help.aliyun.com/zh/model-studio/error-code#token-limit", "type": "insufficient_quota", "code": "insufficient_quota"}}, "temporary"),
    Row("DashScope, tokens", 429, {"code": "Throttling.AllocationQuota", "message": "Allocated quota exceeded, please increase your quota limit."}, "temporary"),
    Row("DashScope, requests", 429, {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded, please try again later."}, "temporary"),
    Row("Anthropic", 429, {"type": "error", "error": {"type": "rate_limit_error", "message": "This request would exceed your organization's rate limit of 40,000 input tokens per minute."}}, "temporary", wait=7, headers={"retry-after": "7"}),
    Row("Anthropic, a month", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "You have reached your specified API usage limits. You will regain access on 2020-12-01 at 00:00 UTC."}}, "fatal", "usage_limit"),
    Row("Anthropic, overloaded", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "temporary"),
    Row("GitHub Models", 429, {"error": {"code": "RateLimitReached", "message": "Rate limit of 50 per 86400s exceeded for UserByModelByDay. Please wait 40000 seconds before retrying."}}, "fatal", "usage_limit", wait=40000),
    Row("GitHub Models, a minute", 429, {"error": {"code": "RateLimitReached", "message": "Rate limit of 10 per 60s exceeded for UserByModelByMinute. Please wait 12 seconds before retrying."}}, "temporary", wait=12),
    Row("Moonshot", 429, openai("Your account org-1 request reached organization max RPM: 3, please try again after 1 seconds", None, "rate_limit_reached_error"), "temporary", wait=1),
    Row("Moonshot, a day", 429, openai("Your account org-1 request reached organization TPD rate limit, current: 1500100, limit: 1500000", None, "rate_limit_reached_error"), "fatal", "usage_limit"),
    Row("MiniMax", 200, {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit exceeded(RPM)"}}, "temporary"),
    Row("MiniMax, its plan", 200, {"base_resp": {"status_code": 2056, "status_msg": "usage limit exceeded"}}, "fatal", "usage_limit"),
    Row("Zhipu", 429, {"error": {"code": "1302", "message": "High concurrency usage of this API, please reduce concurrency"}}, "temporary"),
    Row("Zhipu, its plan", 429, {"error": {"code": "1308", "message": "Usage limit reached for 5 hour. Your limit will reset at 2026-12-01 14:05:44"}}, "fatal", "usage_limit"),
    Row("Cloudflare", 429, {"errors": [{"message": "AiError: you have used up your daily free allocation of 10,000 neurons, please upgrade to Cloudflare's Workers Paid plan if you would like to continue usage.", "code": 4006}], "success": False}, "fatal", "usage_limit"),
    Row("Bedrock", 400, {"__type": "ThrottlingException", "message": "Too many tokens, please wait before trying again."}, "temporary"),
    Row("Bedrock, a day", 429, {"message": "Too many tokens per day, please wait before trying again."}, "fatal", "usage_limit"),
    Row("Mistral", 429, {"object": "error", "message": "Service tier capacity exceeded for this model.", "type": "service_tier_capacity_exceeded", "code": "3505"}, "temporary"),
    Row("SiliconFlow", 403, {"message": "Request was rejected due to rate limiting. Details:TPM limit reached."}, "temporary"),
    Row("Ollama Cloud", 429, {"error": "you've reached your hourly usage limit, please upgrade to continue"}, "fatal", "usage_limit"),
    Row("Groq, one request", 413, openai("Request too large for model `m` in organization `o` on tokens per minute (TPM): Limit 6000, Requested 8000, please reduce your message size and try again.", "rate_limit_exceeded", "tokens"), "single", "request_too_large"),
    Row("OpenAI, one request", 429, openai("Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 45000.", "rate_limit_exceeded", "tokens"), "single", "request_too_large"),
    Row("Google, a minute", 403, {"error": {"message": "Quota exceeded for quota metric 'Generate Content API requests' and limit 'requests per minute'"}}, "temporary"),
    Row("a gateway, seconds", 400, {"msg": "Requests per second limit exceeded"}, "temporary"),
    Row("a gateway, a rate called quota", 429, openai("Request rate exceeded your quota. Please slow down.", "insufficient_quota"), "temporary"),
    Row("OpenRouter, a model's day", 429, {"error": {"message": "Rate limit exceeded: limit_rpd/qwen", "code": 429}}, "fatal", "usage_limit"),
    Row("Cohere", 429, {"message": "You are using a Trial key, which is limited to 1000 API calls / month. You can continue to use the Trial key for free or upgrade to a Production key"}, "fatal", "usage_limit"),
    Row("Cohere, a minute", 429, {"message": "You are using a Trial key, which is limited to 40 API calls / minute."}, "temporary"),
    Row("Cerebras", 429, {"message": "Requests per minute limit exceeded - too many requests sent.", "type": "too_many_requests_error", "code": "request_quota_exceeded"}, "temporary", wait=41.5, headers={"x-ratelimit-remaining-requests-minute": "0", "x-ratelimit-reset-requests-minute": "41.5", "x-ratelimit-remaining-requests-day": "90", "x-ratelimit-reset-requests-day": "33011.4"}),
]  # fmt: skip
MODELS = [
    Row("OpenAI", 404, openai("The model `gpt-9` does not exist or you do not have access to it.", "model_not_found"), "fatal", "model_not_found"),
    Row("OpenAI, a project", 403, openai("Project `proj_1` does not have access to model `gpt-4o`", "model_not_found"), "fatal", "model_not_found"),
    Row("vLLM", 404, {"error": {"message": "The model `q` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}}, "fatal", "model_not_found"),
    Row("Ollama", 404, openai('model "qwen3-vl" not found, try pulling it first', None, "api_error"), "fatal", "model_not_found"),
    Row("OpenRouter", 400, {"error": {"message": "qwen/qwen9 is not a valid model ID", "code": 400}}, "fatal", "model_not_found"),
    Row("OpenRouter, gone", 404, {"error": {"message": "No endpoints found for qwen/qwen2-vl.", "code": 404}}, "fatal", "model_not_found"),
    Row("OpenRouter, privacy", 404, {"error": {"message": "No endpoints found matching your data policy (Free model publication). Configure: https://openrouter.ai/settings/privacy", "code": 404}}, "fatal", "404"),
    Row("Mistral", 400, {"object": "error", "message": "Invalid model: pixtral-99", "type": "invalid_model", "code": "1500"}, "fatal", "model_not_found"),
    Row("DeepSeek", 400, openai("Model Not Exist", "invalid_request_error"), "fatal", "model_not_found"),
    Row("LiteLLM", 400, openai("/chat/completions: Invalid model name passed in model=x. Call `/v1/models` to view available models for your key.", "400", "None"), "fatal", "model_not_found"),
    Row("Groq", 400, openai("The model `llava` has been decommissioned and is no longer supported. Please refer to https://console.groq.com/docs/deprecations", "model_decommissioned"), "fatal", "model_not_found"),
    Row("xAI", 404, {"code": "Some requested entity was not found", "error": "The model grok-9 does not exist or your team 1 does not have access to it. Please ensure you're using the correct API key."}, "fatal", "model_not_found"),
    Row("Gemini", 404, gemini(404, "models/gemini-9 is not found for API version v1main, or is not supported for generateContent. Call ListModels to see the list of available models", "NOT_FOUND"), "fatal", "model_not_found"),
    Row("Anthropic", 404, {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-9"}}, "fatal", "model_not_found"),
    Row("Together", 404, {"error": {"message": "Unable to access model m. Please visit https://api.together.ai/models to view the list of supported models.", "code": "model_not_available"}}, "fatal", "model_not_found"),
    Row("one-api", 503, openai("当前分组 default 下对于模型 q 无可用渠道", "model_not_found", "one_api_error"), "fatal", "model_not_found"),
    Row("LM Studio", 400, openai('Invalid model identifier "q". Please specify a valid downloaded model.', "model_not_found"), "fatal", "model_not_found"),
    Row("SiliconFlow", 400, {"code": 20012, "message": "Model does not exist. Please check it carefully.", "data": None}, "fatal", "model_not_found"),
    Row("Bedrock", 400, {"message": "The provided model identifier is invalid."}, "fatal", "model_not_found"),
    Row("Bedrock, no access", 403, {"message": "You don't have access to the model with the specified model ID."}, "fatal", "model_not_found"),
    Row("Vertex", 404, gemini(404, "Publisher Model `projects/p/locations/l/publishers/google/models/gemini-9` was not found or your project does not have access to it.", "NOT_FOUND"), "fatal", "model_not_found"),
    Row("NVIDIA", 404, {"status": 404, "title": "Not Found", "detail": "Function '1a-2b': Not found for account 'x'"}, "fatal", "model_not_found"),
    Row("Azure", 404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."}}, "fatal", "model_not_found"),
    Row("llama.cpp", 500, {"error": {"code": 500, "message": "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", "type": "server_error"}}, "fatal", "no_vision"),
    Row("vLLM, text only", 400, vllm("Qwen/Qwen3-8B is not a multimodal model"), "fatal", "no_vision"),
    Row("vLLM, limit 0", 400, vllm("At most 0 image(s) may be provided in one prompt."), "fatal", "no_vision"),
    Row("LM Studio, text only", 400, {"error": "Model does not support images. Please use a model that does."}, "fatal", "no_vision"),
    Row("Ollama, text only", 500, openai("Failed to create new sequence: failed to process inputs: this model is missing data required for image input", None, "api_error"), "fatal", "no_vision"),
    Row("OpenAI, text only", 400, openai("Invalid content type. image_url is only supported by certain models."), "fatal", "no_vision"),
    Row("OpenRouter, text only", 404, {"error": {"message": "No endpoints found that support image input", "code": 404}}, "fatal", "no_vision"),
    Row("DeepSeek, text only", 400, openai("Failed to deserialize the JSON body into the target type: messages[0]: unknown variant `image_url`, expected `text` at line 1 column 123"), "fatal", "no_vision"),
    Row("Groq, text only", 400, openai("'messages.0' : for 'role:user' the following must be satisfied[('messages.0.content' : value must be a string)]; messages[0].content must be a string"), "fatal", "no_vision"),
    Row("SiliconFlow, text only", 400, {"code": 20041, "message": "The model is not a VLM (Vision Language Model). Please use text-only prompts."}, "fatal", "no_vision"),
    Row("Bedrock, text only", 400, {"message": "This model doesn't support the image content block that you provided."}, "fatal", "no_vision"),
    Row("xAI, text only", 400, {"code": "Client specified an invalid argument", "error": "Image inputs are not supported by this model."}, "fatal", "no_vision"),
    Row("xAI, short", 400, {"error": "Image inputs not supported"}, "fatal", "no_vision"),
    Row("Cohere, text only", 400, {"message": "image content is not supported for this model: command-r"}, "fatal", "no_vision"),
    Row("Cerebras, text only", 422, {"message": "body.messages.0.user.content.1.type: Input should be 'text'"}, "fatal", "no_vision"),
    Row("SGLang, text only", 400, vllm("Multimodal is not supported by this model"), "fatal", "no_vision"),
    Row("Gemini, text only", 400, gemini(400, "Image input modality is not enabled for models/gemma-3-1b-it", "INVALID_ARGUMENT"), "fatal", "no_vision"),
]  # fmt: skip
REQUESTS = [
    Row("OpenAI", 400, openai("Your request was rejected as a result of our safety system.", "content_policy_violation"), "single", "content_policy"),
    Row("Azure", 400, {"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "type": None, "param": "prompt", "code": "content_filter", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, "single", "content_policy"),
    Row("DashScope", 400, openai("<400> InternalError.Algo.DataInspectionFailed: Input data may contain inappropriate content.", "data_inspection_failed", "data_inspection_failed"), "single", "content_policy"),
    Row("OpenRouter", 403, {"error": {"message": 'Your chosen model requires moderation and your input was flagged for "violence/graphic".', "code": 403, "metadata": {"reasons": ["violence/graphic"], "flagged_input": "a text", "provider_name": "OpenAI"}}}, "single", "content_policy"),
    Row("xAI", 403, {"code": "The caller does not have permission to execute the specified operation", "error": "Content violates usage guidelines. Team: 1, API key ID: 2, Model: m, Failed check: SAFETY_CHECK_TYPE_BIO"}, "single", "content_policy"),
    Row("MiniMax", 200, {"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}}, "single", "content_policy"),
    Row("Zhipu", 400, {"error": {"code": "1301", "message": "System detected potentially unsafe or sensitive content in input or generation."}}, "single", "content_policy"),
    Row("Moonshot", 400, openai("The request was rejected because it was considered high risk", None, "content_filter"), "single", "content_policy"),
    Row("Cloudflare, a firewall", 403, "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head></html>", "single", "not_permitted"),
    Row("nginx, a firewall", 403, "<html>\n<head><title>403 Forbidden</title></head>\n<body></body></html>", "single", "not_permitted"),
    Row("AWS WAF", 403, {"message": "Forbidden"}, "single", "not_permitted"),
    Row("OpenAI, a country", 403, openai("Country, region, or territory not supported", "unsupported_country_region_territory"), "fatal", "region"),
    Row("DashScope, stream", 400, openai("This model only support stream mode, please enable the stream parameter to access the model. ", "invalid_parameter_error"), "single", "stream_required"),
    Row("DashScope, thinking", 400, openai("<400> InternalError.Algo.InvalidParameter: parameter.enable_thinking must be set to false for non-streaming calls", "invalid_parameter_error"), "single", "stream_required"),
    Row("Fireworks, stream", 400, {"error": {"object": "error", "type": "invalid_request_error", "message": "Requests with max_tokens > 4096 must have stream=true"}}, "single", "stream_required"),
    Row("a gateway, stream", 400, {"message": "Model requires stream=true"}, "single", "stream_required"),
    Row("Go, a link", 400, {"error": "failed to fetch image from url: context deadline exceeded"}, "temporary", "link_timeout"),
    Row("a gateway, images", 400, {"error": "Only one image is allowed"}, "single", "too_many_images"),
    Row("a gateway, busy", 200, {"code": -1, "msg": "system busy"}, "temporary"),
    Row("OpenAI, a link", 400, openai("Timeout while downloading https://example.com/a.jpg.", "invalid_image_url"), "temporary", "link_timeout"),
    Row("OpenAI, a busy link", 400, openai("Error while downloading https://example.com/a.jpg. Upstream status code: 503.", "invalid_image_url"), "temporary", "link_timeout"),
    Row("OpenAI, a dead link", 400, openai("Error while downloading https://example.com/a.jpg. Upstream status code: 404.", "invalid_image_url"), "single"),
    Row("DashScope, a link", 400, openai("<400> InternalError.Algo.InvalidParameter: Download the media resource timed out during the data inspection process.", "invalid_parameter_error"), "temporary", "link_timeout"),
    Row("Groq, a link with a login", 400, openai("failed to retrieve media: received status code: 401 Unauthorized, check the URL of the image"), "single"),
    Row("Groq, images", 400, openai("Too many images provided. This model supports up to 5 images"), "single", "too_many_images"),
    Row("vLLM, images", 400, vllm("At most 1 image(s) may be provided in one prompt."), "single", "too_many_images"),
    Row("Ollama, images", 500, openai("this model only supports one image while more than one image requested"), "single", "too_many_images"),
    Row("Anthropic, images", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "messages: too many images and documents: 105 + 0 > 100"}}, "single", "too_many_images"),
    Row("Anthropic, size", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 5316852 bytes > 5242880 bytes"}}, "single"),
    Row("DashScope, size", 400, openai("Exceeded limit on max bytes per data-uri item : 10485760", "invalid_parameter_error"), "single"),
    Row("nginx, size", 413, "<html><head><title>413 Request Entity Too Large</title></head></html>", "single", "request_too_large"),
    Row("a proxy", 407, "", "fatal", "proxy", ConnectionSetupError),
    Row("Hugging Face, loading", 503, {"error": "Model Qwen/Qwen3-VL is currently loading", "estimated_time": 20.0}, "temporary", wait=20),
    Row("Cloudflare, a timeout", 524, "<html><title>example.com | 524: A timeout occurred</title></html>", "temporary"),
    Row("MiniMax, trouble", 200, {"base_resp": {"status_code": 1000, "status_msg": "unknown error, 999 (1000)"}}, "temporary"),
    Row("OpenRouter, in a stream", 200, {"id": "gen-1", "provider": "Novita", "choices": [{"delta": {"content": ""}, "finish_reason": "error", "error": {"code": 502, "message": "Upstream error"}}]}, "temporary"),
    Row("vLLM, in a stream", 200, {"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500}}, "temporary"),
    Row("llama.cpp, a setting", 400, {"error": {"code": 400, "message": "Failed to parse grammar", "type": "invalid_request_error"}}, "single"),
]  # fmt: skip


@pytest.mark.parametrize(
    "row", [*KEYS, *CREDITS, *LIMITS, *MODELS, *REQUESTS], ids=lambda row: f"{row.provider}-{row.code}"
)
def test_what_a_provider_says_decides_what_happens_next(row: Row) -> None:
    response = parse_error_body(row.body, status=row.status, host="h", headers=row.headers)
    error = build_error(response)
    fate = "fatal" if error.is_fatal else "temporary" if error.is_temporary else "single"
    code = error.code if row.code else None
    assert (type(error), code, fate, error.retry_after) == (row.kind, row.code, row.fate, row.wait), error.message


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "The image shows a poster: “our daily limit for visitors is 200”, and a table."),
        (400, "model daily-limit-7b: temperature must be at most 2"),
        (400, "models/rate-limit-7b: the prompt is empty"),
        (400, "This model does not support response_format json_schema with image input"),
        (400, "The model does not support images larger than 8000 pixels"),
        (400, "Image URLs are not currently supported, please use base64 encoded data instead"),
        (400, "'stream_options' is only allowed when stream is set to true"),
        (400, "Stream options can only be defined when `stream=True`."),
        (400, "unsupported model parameter: top_k"),
        (400, "Unknown model architecture parameter"),
        (400, "Invalid key 'foo' in the object"),
        (400, "top_p is not supported by this model"),
        (400, 'cannot parse "the account of the man whose credit balance is low and whose key expired last year"'),
        (422, "messages.0.content: Input should be a valid list"),
        (400, "max_tokens must be at least 1"),
        (400, "the image has a context of flowers"),
        (400, "Unsupported image type: image/webp"),
        (400, "Could not process image"),
        (400, "This image is not supported: its format is bmp"),
        (400, "Unable to process input image. Please retry or report in https://example.com"),
        (400, "response_format is not supported with streaming"),
        (400, "logprobs cannot be used with streaming"),
        (400, "Invalid token '<' at position 3"),
        (400, "模型名大小写敏感"),
        (400, "The file name is case sensitive content"),
        (400, "The receipt shows a library book that is overdue."),
        (400, "access to this picture has been restricted by its owner"),
    ],
)
def test_ordinary_sentences_match_no_special_rule(status: int, message: str) -> None:
    error = build_error(parse_error_body({"error": {"message": message}}, status=status, host="h"))
    assert error.message == f"h refused the request (HTTP {status}): {message}"
    assert (type(error), error.is_fatal, error.is_temporary) == (EndpointError, False, False)


@pytest.mark.parametrize(
    ("message", "numbers"),
    [
        ("This model's maximum context length is 32768 tokens. However, you requested 36384 tokens (20000 in the messages, 16384 in the completion). Please reduce the length of the messages or completion.", (32768, 20000)),
        ("This model's maximum context length is 16385 tokens. However, your messages resulted in 23273 tokens (22394 in the messages, 879 in the functions).", (16385, 22394)),
        ("'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum context length is 32768 tokens and your request has 20000 input tokens (16384 > 32768 - 20000).", (32768, 20000)),
        ("You passed 33000 input tokens and requested 100 output tokens. However, the model's context length is only 32768 tokens, resulting in a maximum input length of 32668 tokens.", (32768, 33000)),
        ("The decoder prompt (length 33000) is longer than the maximum model length of 32768.", (32768, 33000)),
        ("This endpoint's maximum context length is 32768 tokens. However, you requested about 50000 tokens (33616 of text input, 16384 in the output).", (32768, 33616)),
        ("This model's maximum prompt length is 131072 but the request contains 537812 tokens.", (131072, 537812)),
        ("Requested token count exceeds the model's maximum context length of 40960 tokens. You requested a total of 46392 tokens: 30008 tokens from the input messages and 16384 tokens for the completion.", (40960, 30008)),
        ("The input (61709 tokens) is longer than the model's context length (40960 tokens).", (40960, 61709)),
        ("Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).", (59862, 160062)),
        ("request (14429 tokens) exceeds the available context size (8192 tokens), try increasing it", (8192, 14429)),
        ("Requested tokens (2285) exceed context window of 2048", (2048, None)),
        ("Trying to keep the first 10136 tokens when context the overflows. However, the model is loaded with context length of only 7866 tokens, which is not enough.", (7866, 10136)),
        ("The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 13055>= n_ctx: 4096).", (4096, 13055)),
        ("Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)", (7424, 15028)),
        ("prompt is too long: 213,462 tokens > 200,000 maximum", (200000, 213462)),
        ("input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or `max_tokens` and try again", (200000, 188240)),
        ("The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).", (1048575, 1196265)),
        ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 500 `max_new_tokens`", (4096, 4000)),
        ("Prompt contains 33000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", (32768, 33000)),
        ("Invalid request: Your request exceeded model token limit: 8192 (requested: 10000)", (8192, None)),
        ("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]", (30720, None)),
        ("length of prompt_tokens (38000) must be less than max_seq_len (32768).", (32768, 38000)),
        ("Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192", (8192, 9000)),
        ("prompt token count of 133252 exceeds the limit of 128000", (128000, 133252)),
        ("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.", (272000, 300000)),
        ("Input length 40000 exceeds maximum context length 32768", (32768, 40000)),
        ("Input is too long for requested model.", (None, None)),
        ("invalid params, context window exceeds limit (2013)", (None, None)),
    ],
)  # fmt: skip
def test_the_numbers_of_a_context_that_is_too_long_are_read(
    message: str, numbers: tuple[int | None, int | None]
) -> None:
    error = build_error(parse_error_body({"error": message}, status=400, host="h"))
    assert (error.code, error.context) == ("context_length_exceeded", ContextOverflow(*numbers))
    assert (error.is_fatal, error.is_temporary) == (False, False)


@pytest.mark.parametrize(
    ("body", "context", "code", "hint"),
    [
        (
            {"error": {"code": 400, "message": "the request exceeds the available context size", "type": "exceed_context_size_error", "n_prompt_tokens": 1407, "n_ctx": 256}},
            ContextOverflow(256, 1407),
            "context_length_exceeded",
            "Prompt and images exceed it by 1,151 tokens. Send smaller images with --max-pixels.",
        ),
        (
            openai("This model's maximum context length is 128000 tokens. However, you requested 65535 output tokens and your prompt contains at least 62466 input tokens, for a total of at least 128001 tokens."),
            ContextOverflow(128000, 62466, is_prompt_exact=False),
            "context_length_exceeded",
            "Lower --max-tokens, or send smaller images with --max-pixels.",
        ),
        (
            vllm("This model's maximum context length is 32768 tokens. However, you requested 36384 tokens (20000 in the messages, 16384 in the completion)."),
            ContextOverflow(32768, 20000),
            "context_length_exceeded",
            "Lower --max-tokens to 12768, or send smaller images with --max-pixels.",
        ),
        (
            {"error": "prompt too long; exceeded max context length by 512 tokens"},
            ContextOverflow(excess_tokens=512),
            "context_length_exceeded",
            "Prompt and images exceed it by 512 tokens. Send smaller images with --max-pixels.",
        ),
        (
            openai("max_tokens is too large: 16384. This model supports at most 4096 completion tokens, whereas you provided 16384."),
            ContextOverflow(max_output_tokens=4096),
            "max_tokens_too_large",
            "Lower --max-tokens to 4096.",
        ),
        (
            {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for claude-3-haiku"}},
            ContextOverflow(max_output_tokens=4096),
            "max_tokens_too_large",
            "Lower --max-tokens to 4096.",
        ),
    ],
)  # fmt: skip
def test_the_hint_says_by_how_much_it_is_too_long(body: Any, context: ContextOverflow, code: str, hint: str) -> None:
    error = build_error(parse_error_body(body, status=400, host="h"))
    assert (error.context, error.code, error.hint) == (context, code, hint)

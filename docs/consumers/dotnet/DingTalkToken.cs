using System;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Threading;
using System.Threading.Tasks;

namespace DingTalkTokens
{
    /// <summary>DingTalk refused the token: it has expired or was replaced.</summary>
    public sealed class TokenRefusedException : Exception
    {
        public TokenRefusedException(string message) : base(message) { }
    }

    /// <summary>An error that DingTalk answered, other than a refused token.</summary>
    public sealed class DingTalkException : Exception
    {
        public DingTalkException(int status, string code, string message)
            : base($"DingTalk answered HTTP {status}, code \"{code}\": {message}")
        {
            Status = status;
            Code = code;
        }

        public int Status { get; }

        public string Code { get; }
    }

    /// <summary>
    /// Calls DingTalk's APIs with the access token that dingtalk-token-operator keeps in a mounted Secret.
    /// </summary>
    public sealed class DingTalkToken
    {
        /// <summary>Where the Secret is mounted.</summary>
        public const string DefaultFolder = "/var/run/secrets/dingtalk";

        /// <summary>Above the 90 seconds within which the kubelet updates a mounted Secret.</summary>
        public static readonly TimeSpan DefaultPatience = TimeSpan.FromMinutes(2);

        private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

        private readonly HttpClient client;
        private readonly string corpId;
        private readonly string folder;
        private readonly TimeSpan patience;

        /// <param name="client">Sends the requests.</param>
        /// <param name="corpId">
        /// For the layouts Combined and PerCorp, with each Secret of PerCorp mounted in a folder named after
        /// its corpId; otherwise null.
        /// </param>
        /// <param name="folder">Where the Secret is mounted.</param>
        /// <param name="patience">How long to wait for another token; DefaultPatience if null.</param>
        public DingTalkToken(
            HttpClient client, string corpId = null, string folder = DefaultFolder, TimeSpan? patience = null)
        {
            if (corpId != null && !Regex.IsMatch(corpId, @"\A[A-Za-z0-9_-]{1,64}\z"))
            {
                throw new ArgumentException("invalid corpId");
            }
            this.client = client;
            this.corpId = corpId;
            this.folder = folder;
            this.patience = patience ?? DefaultPatience;
        }

        /// <summary>
        /// Returns the token to send now. Read it for each request: the file is small and in memory.
        /// </summary>
        public string Token()
        {
            string[] names = corpId == null
                ? new[] { "access_token" }
                : new[] { corpId + ".access_token", corpId + "/access_token" };
            string file = names.Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists);
            if (file == null)
            {
                throw new FileNotFoundException($"{folder}: neither of these files: {string.Join(", ", names)}");
            }
            string token = File.ReadAllText(file).Trim();
            if (!Regex.IsMatch(token, @"\A[!-~]+\z"))
            {
                throw new InvalidDataException($"no token in {file}");
            }
            return token;
        }

        /// <summary>
        /// Returns what send returns for the token. While that throws TokenRefusedException, waits for another
        /// token in the file and calls send again, until the patience ends.
        /// </summary>
        public async Task<T> WithTokenAsync<T>(
            Func<string, Task<T>> send, CancellationToken cancellation = default(CancellationToken))
        {
            var started = System.Diagnostics.Stopwatch.StartNew();
            while (true)
            {
                string used = Token();
                try
                {
                    return await send(used).ConfigureAwait(false);
                }
                catch (TokenRefusedException)
                {
                }
                while (Token() == used)
                {
                    if (started.Elapsed >= patience)
                    {
                        throw new TokenRefusedException(
                            "DingTalk refused the access token, and no other came within "
                            + $"{patience.TotalSeconds} s");
                    }
                    await Task.Delay(Interval, cancellation).ConfigureAwait(false);
                }
            }
        }

        /// <summary>
        /// Calls an API, again with a fresh token if need be, and returns the JSON of the response. The token is
        /// sent as the kind of API wants it: in a header to /v1.0/… of api.dingtalk.com, in the query to the
        /// older APIs of oapi.dingtalk.com.
        /// </summary>
        /// <param name="method">The HTTP method.</param>
        /// <param name="uri">The whole URL.</param>
        /// <param name="body">JSON, or null.</param>
        /// <param name="cancellation">Ends the call and the waiting.</param>
        public Task<string> CallAsync(
            HttpMethod method, Uri uri, string body = null,
            CancellationToken cancellation = default(CancellationToken))
        {
            return WithTokenAsync(token => SendAsync(method, uri, body, token, cancellation), cancellation);
        }

        private async Task<string> SendAsync(
            HttpMethod method, Uri uri, string body, string token, CancellationToken cancellation)
        {
            bool isCurrent = Regex.IsMatch(uri.AbsolutePath, "^/v[0-9]");
            string separator = uri.Query.Length == 0 ? "?" : "&";
            string query = separator + "access_token=" + Uri.EscapeDataString(token);
            using (var request = new HttpRequestMessage(method, isCurrent ? uri : new Uri(uri.AbsoluteUri + query)))
            {
                if (isCurrent)
                {
                    request.Headers.Add("x-acs-dingtalk-access-token", token);
                }
                if (body != null)
                {
                    request.Content = new StringContent(body, Encoding.UTF8, "application/json");
                }
                try
                {
                    using (HttpResponseMessage response =
                        await client.SendAsync(request, cancellation).ConfigureAwait(false))
                    {
                        string answer = await response.Content.ReadAsStringAsync().ConfigureAwait(false);
                        Judge((int)response.StatusCode, answer, token);
                        return answer;
                    }
                }
                catch (HttpRequestException failure)
                {
                    throw new HttpRequestException(
                        $"{method} {uri.Authority}{uri.AbsolutePath}: {failure.Message}", failure);
                }
            }
        }

        /// <summary>
        /// Throws the error in an answer. The older APIs answer HTTP 200 with an errcode that is not 0, some of
        /// them 88 with the code in sub_code.
        /// </summary>
        private static void Judge(int status, string answer, string token)
        {
            JsonElement fields;
            try
            {
                using (JsonDocument document = JsonDocument.Parse(answer.Length == 0 ? "null" : answer))
                {
                    fields = document.RootElement.Clone();
                }
            }
            catch (JsonException)
            {
                throw new DingTalkException(status, "", "no JSON");
            }
            string errcode = Field(fields, "errcode") ?? "0";
            if (status < 400 && errcode == "0")
            {
                return;
            }
            string code = (status < 400 ? Field(fields, "sub_code") ?? errcode : Field(fields, "code")) ?? "";
            if (code == "InvalidAuthentication" || code == "40014" || code == "42001")
            {
                throw new TokenRefusedException("DingTalk refused the access token");
            }
            string message = Field(fields, "message") ?? Field(fields, "errmsg") ?? "";
            throw new DingTalkException(status, code, message.Replace(token, "***"));
        }

        private static string Field(JsonElement fields, string name)
        {
            JsonElement value;
            return fields.ValueKind == JsonValueKind.Object
                && fields.TryGetProperty(name, out value)
                && value.ValueKind != JsonValueKind.Null
                ? value.ToString()
                : null;
        }
    }
}

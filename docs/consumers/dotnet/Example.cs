using System;
using System.IO;
using System.Net.Http;
using System.Text;
using System.Threading.Tasks;

namespace DingTalkTokens
{
    /// <summary>Calls an API: METHOD PATH [CORP_ID], with the body on standard input.</summary>
    public static class Example
    {
        public static int Main(string[] arguments)
        {
            try
            {
                Console.WriteLine(RunAsync(arguments).GetAwaiter().GetResult());
                return 0;
            }
            catch (Exception failure)
            {
                Console.Error.WriteLine(failure.Message);
                return 1;
            }
        }

        private static async Task<string> RunAsync(string[] arguments)
        {
            string api = Environment.GetEnvironmentVariable("DINGTALK_API") ?? "https://api.dingtalk.com";
            string folder = Environment.GetEnvironmentVariable("DINGTALK_TOKENS") ?? DingTalkToken.DefaultFolder;
            string patience = Environment.GetEnvironmentVariable("DINGTALK_PATIENCE");
            string corpId = arguments.Length > 2 ? arguments[2] : null;
            using (var client = new HttpClient { Timeout = TimeSpan.FromSeconds(10) })
            using (var input = new StreamReader(Console.OpenStandardInput(), new UTF8Encoding(false)))
            {
                var dingTalk = new DingTalkToken(
                    client, corpId, folder,
                    patience == null ? (TimeSpan?)null : TimeSpan.FromSeconds(int.Parse(patience)));
                string body = await input.ReadToEndAsync().ConfigureAwait(false);
                var method = new HttpMethod(arguments[0]);
                return await dingTalk.CallAsync(method, new Uri(api + arguments[1]), body.Length == 0 ? null : body)
                    .ConfigureAwait(false);
            }
        }
    }
}

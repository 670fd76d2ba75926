// One request with one of Java's clients: java Held KIND; the environment as for held.py.
import java.io.FileInputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Held {
    static final URI TARGET = URI.create(System.getenv("TARGET"));
    static final String READ = System.getenv().getOrDefault("READ", "");

    static SSLContext trusting() throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        int count = 0;
        try (FileInputStream file = new FileInputStream(System.getenv("SSL_CERT_FILE"))) {
            for (var each : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                store.setCertificateEntry("ca" + count++, each);
            }
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    static InetSocketAddress proxy() {
        URI at = URI.create(System.getenv("HTTPS_PROXY"));
        return new InetSocketAddress(at.getHost(), at.getPort());
    }

    static String[] withHttpClient() throws Exception {
        HttpClient client = HttpClient.newBuilder()
            .proxy(ProxySelector.of(proxy())).sslContext(trusting()).build();
        HttpRequest.Builder asked = HttpRequest.newBuilder(TARGET)
            .header("content-type", "application/json").POST(HttpRequest.BodyPublishers.ofString("{}"));
        if (!READ.isEmpty()) {
            asked.timeout(Duration.ofMillis((long) (Double.parseDouble(READ) * 1000)));
        }
        HttpResponse<String> answer = client.send(asked.build(), HttpResponse.BodyHandlers.ofString());
        return new String[] {String.valueOf(answer.statusCode()), answer.body()};
    }

    static String[] withUrlConnection() throws Exception {
        var asked = (HttpsURLConnection) TARGET.toURL().openConnection(new Proxy(Proxy.Type.HTTP, proxy()));
        asked.setSSLSocketFactory(trusting().getSocketFactory());
        if (!READ.isEmpty()) {
            asked.setReadTimeout((int) (Double.parseDouble(READ) * 1000));
        }
        asked.setRequestMethod("POST");
        asked.setDoOutput(true);
        asked.getOutputStream().write("{}".getBytes());
        String body = new String(asked.getInputStream().readAllBytes());
        return new String[] {String.valueOf(asked.getResponseCode()), body};
    }

    static String quoted(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ") + "\"";
    }

    public static void main(String[] words) {
        try {
            String[] told = words[0].equals("httpclient") ? withHttpClient() : withUrlConnection();
            System.out.println("{\"status\": " + told[0] + ", \"saw\": " + quoted(told[1]) + "}");
        } catch (Exception error) {
            System.out.println("{\"raised\": " + quoted(error.toString()) + "}");
        }
        System.exit(0);
    }
}

// A SCIM server from SCIM-SDK, a Java library that others wrote, with storage in memory.
//
// Filters, PATCH, versions, paging, validation and error bodies are the library's. HTTP, the bearer token, storage and the refusal of a
// user name that is taken are ours. Arguments: the bearer token. Prints one JSON line with its address when it serves.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import de.captaingoldfish.scim.sdk.common.constants.enums.HttpMethod;
import de.captaingoldfish.scim.sdk.common.constants.enums.SortOrder;
import de.captaingoldfish.scim.sdk.common.exceptions.ConflictException;
import de.captaingoldfish.scim.sdk.common.exceptions.ResourceNotFoundException;
import de.captaingoldfish.scim.sdk.common.resources.ServiceProvider;
import de.captaingoldfish.scim.sdk.common.resources.User;
import de.captaingoldfish.scim.sdk.common.resources.complex.ETagConfig;
import de.captaingoldfish.scim.sdk.common.resources.complex.FilterConfig;
import de.captaingoldfish.scim.sdk.common.resources.complex.PatchConfig;
import de.captaingoldfish.scim.sdk.common.resources.multicomplex.AuthenticationScheme;
import de.captaingoldfish.scim.sdk.common.response.ScimResponse;
import de.captaingoldfish.scim.sdk.common.schemas.SchemaAttribute;
import de.captaingoldfish.scim.sdk.server.endpoints.Context;
import de.captaingoldfish.scim.sdk.server.endpoints.ResourceEndpoint;
import de.captaingoldfish.scim.sdk.server.endpoints.ResourceHandler;
import de.captaingoldfish.scim.sdk.server.endpoints.base.UserEndpointDefinition;
import de.captaingoldfish.scim.sdk.server.filter.FilterNode;
import de.captaingoldfish.scim.sdk.server.response.PartialListResponse;
import de.captaingoldfish.scim.sdk.server.schemas.custom.ResourceTypeFeatures;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;

public final class Server {
  /** Users in order of creation. One request at a time, so nothing is locked. */
  private static final class Users extends ResourceHandler<User> {
    private final Map<String, User> rows = new LinkedHashMap<>();

    private User held(String id) {
      return Optional.ofNullable(rows.get(id)).orElseThrow(() -> new ResourceNotFoundException("no user " + id));
    }

    private void refuseTaken(User user, String own) {
      String name = user.getUserName().orElse("");
      for (User other : rows.values()) {
        boolean same = name.equalsIgnoreCase(other.getUserName().orElse(""));
        if (same && !other.getId().orElse("").equals(own)) {
          throw new ConflictException("userName is taken", "uniqueness");
        }
      }
    }

    @Override
    public User createResource(User user, Context context) {
      refuseTaken(user, null);
      String id = UUID.randomUUID().toString();
      user.setId(id);
      user.getMeta().ifPresent(meta -> {
        meta.setCreated(Instant.now());
        meta.setLastModified(Instant.now());
      });
      rows.put(id, user);
      return user;
    }

    @Override
    public User getResource(String id, List<SchemaAttribute> wanted, List<SchemaAttribute> unwanted, Context context) {
      return held(id);
    }

    @Override
    public PartialListResponse<User> listResources(long start, int count, FilterNode filter, SchemaAttribute sortBy,
        SortOrder order, List<SchemaAttribute> wanted, List<SchemaAttribute> unwanted, Context context) {
      // The library filters and cuts out the page: auto filtering is on.
      List<User> all = new ArrayList<>(rows.values());
      return PartialListResponse.<User>builder().resources(all).totalResults(all.size()).build();
    }

    @Override
    public User updateResource(User user, Context context) {
      String id = user.getId().orElse("");
      held(id);
      refuseTaken(user, id);
      user.getMeta().ifPresent(meta -> meta.setLastModified(Instant.now()));
      rows.put(id, user);
      return user;
    }

    @Override
    public void deleteResource(String id, Context context) {
      held(id);
      rows.remove(id);
    }
  }

  private static void serve(HttpExchange exchange, String base, String token, ResourceEndpoint endpoint)
      throws IOException {
    try (exchange) {
      Map<String, String> headers = new HashMap<>();
      exchange.getRequestHeaders().forEach((name, values) -> headers.put(name, String.join(",", values)));
      if (!("Bearer " + token).equals(exchange.getRequestHeaders().getFirst("Authorization"))) {
        exchange.sendResponseHeaders(401, -1);
        return;
      }
      String body = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
      String query = exchange.getRequestURI().getRawQuery();
      String url = base + exchange.getRequestURI().getRawPath() + (query == null ? "" : "?" + query);
      HttpMethod method = HttpMethod.valueOf(exchange.getRequestMethod());
      ScimResponse response = endpoint.handleRequest(url, method, body.isEmpty() ? null : body, headers, new Context(null));
      response.getHttpHeaders().forEach((name, value) -> exchange.getResponseHeaders().set(name, value));
      int status = response.getHttpStatus();
      byte[] bytes = status == 204 || status == 304 ? new byte[0] : response.toString().getBytes(StandardCharsets.UTF_8);
      exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
      exchange.getResponseBody().write(bytes);
    }
  }

  public static void main(String[] arguments) throws IOException {
    ServiceProvider provider = ServiceProvider.builder()
        .patchConfig(PatchConfig.builder().supported(true).build())
        .filterConfig(FilterConfig.builder().supported(true).maxResults(50).build())
        .authenticationSchemes(List.of(AuthenticationScheme.builder()
            .type("oauthbearertoken").name("Bearer").description("A token").build()))
        .eTagConfig(ETagConfig.builder().supported(true).build())
        .build();
    ResourceEndpoint endpoint = new ResourceEndpoint(provider);
    endpoint.registerEndpoint(new UserEndpointDefinition(new Users()))
        .setFeatures(ResourceTypeFeatures.builder().autoFiltering(true).autoSorting(true).build());
    HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 16);
    String base = "http://127.0.0.1:" + server.getAddress().getPort();
    server.createContext("/scim/v2", exchange -> serve(exchange, base, arguments[0], endpoint));
    server.start();
    System.out.println("{\"base_url\": \"" + base + "/scim/v2\"}");
  }
}

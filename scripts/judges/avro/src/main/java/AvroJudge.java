import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.SchemaCompatibility.Incompatibility;
import org.apache.avro.SchemaNormalization;

/**
 * Answers one JSON line for each JSON line on stdin, with the Avro library's own verdict.
 *
 * <pre>
 * {"parse": "text"}                      -> {"accepted": true, "canonical": "...", "fingerprint": "16 hex digits"}
 *                                        or {"accepted": false, "error": "..."}
 * {"reader": "text", "writer": "text"}   -> {"findings": [{"type": "NAME_MISMATCH", "path": "/fields/0/type/name"}]}
 *                                        or {"error": "..."}
 * </pre>
 */
public final class AvroJudge {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonNode question = JSON.readTree(line);
      ObjectNode answer =
          question.has("parse")
              ? parse(question.get("parse").textValue())
              : compare(question.get("reader").textValue(), question.get("writer").textValue());
      out.println(JSON.writeValueAsString(answer));
    }
    out.flush();
  }

  private static ObjectNode parse(String text) {
    ObjectNode answer = JSON.createObjectNode();
    try {
      Schema schema = new Schema.Parser().parse(text);
      answer.put("accepted", true);
      answer.put("canonical", SchemaNormalization.toParsingForm(schema));
      answer.put("fingerprint", String.format("%016x", SchemaNormalization.parsingFingerprint64(schema)));
    } catch (RuntimeException | StackOverflowError refused) {
      answer.removeAll();
      answer.put("accepted", false).put("error", refused.toString());
    }
    return answer;
  }

  private static ObjectNode compare(String reader, String writer) {
    ObjectNode answer = JSON.createObjectNode();
    try {
      Schema readerSchema = new Schema.Parser().parse(reader);
      Schema writerSchema = new Schema.Parser().parse(writer);
      ArrayNode findings = answer.putArray("findings");
      for (Incompatibility one :
          SchemaCompatibility.checkReaderWriterCompatibility(readerSchema, writerSchema)
              .getResult()
              .getIncompatibilities()) {
        findings.addObject().put("type", one.getType().name()).put("path", one.getLocation());
      }
    } catch (RuntimeException | StackOverflowError failed) {
      answer.removeAll();
      answer.put("error", failed.toString());
    }
    return answer;
  }
}

"""A gRPC client that is not ours: Debian's grpcio, on its own HTTP/2.

client.py DESCRIPTORS TARGET COMMAND...   prints one line of JSON a result
"""

import json
import sys
import threading
import time

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

descriptors, target, command, *arguments = sys.argv[1:]
pool = descriptor_pool.DescriptorPool()
files = descriptor_pb2.FileDescriptorSet()
with open(descriptors, "rb") as file:
    files.ParseFromString(file.read())
for file in files.file:
    pool.Add(file)
factory = message_factory.MessageFactory(pool)
options = [("grpc.max_receive_message_length", 64 << 20)]


def say(value):
    print(json.dumps(value), flush=True)


def connect():
    return grpc.insecure_channel(target, options=options)


def stub(channel, path):
    service, name = path.split("/")
    method = pool.FindServiceByName(service).FindMethodByName(name)
    request = factory.GetPrototype(method.input_type)
    response = factory.GetPrototype(method.output_type)
    kind = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }[streams(service, name)]
    call = kind(f"/{path}", request_serializer=request.SerializeToString, response_deserializer=response.FromString)
    return call, lambda value: json_format.ParseDict(value, request())


def streams(service, name):
    for file in files.file:
        for each in file.service:
            if f"{file.package}.{each.name}" == service:
                for method in each.method:
                    if method.name == name:
                        return (method.client_streaming, method.server_streaming)
    raise KeyError(name)


def plain(message):
    return json_format.MessageToDict(message)


def detail(error):
    """The details of a status: google.rpc.Status in a trailer, each an Any."""
    found = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if not found:
        return None
    any_at = found.find(b"type.googleapis.com/kurma.v1.ErrorDetail")
    return any_at >= 0


def calls(path, requests):
    """Calls a method with JSON requests, and says each answer, then the status."""
    with connect() as channel:
        call, make = stub(channel, path)
        service, name = path.split("/")
        client_streams, server_streams = streams(service, name)
        request = iter([make(each) for each in requests]) if client_streams else make(requests[0])
        try:
            answer = call(request, timeout=20)
            for each in answer if server_streams else [answer]:
                say(plain(each))
            say({"status": "OK"})
        except grpc.RpcError as error:
            say({"status": error.code().name, "message": error.details(), "detail": detail(error)})


def script(path):
    """Calls of a file, one after the other: [path, requests] each; what the first answer was, or the status."""
    with open(path) as file, connect() as channel:
        for path, requests in json.load(file):
            call, make = stub(channel, path)
            client_streams, server_streams = streams(*path.split("/"))
            ending = threading.Event()
            # The others go on for as long as they are listened to.
            ends = "Images/" in path
            if ends:
                ending.set()

            def talk():
                yield from [make(each) for each in requests]
                ending.wait(20)

            try:
                answer = call(talk() if client_streams and server_streams else
                              iter([make(each) for each in requests]) if client_streams else
                              make(requests[0]), timeout=20)
                said = plain(next(answer)) if server_streams else plain(answer)
                if server_streams and ends:
                    list(answer)
                elif server_streams:
                    answer.cancel()
                say([path, "OK", said])
            except StopIteration:
                say([path, "OK", None])
            except grpc.RpcError as error:
                say([path, error.code().name, error.details()])
            ending.set()


def reflection(package):
    """What the server says of itself: services, and the methods of each."""
    with connect() as channel:
        call, make = stub(channel, f"{package}.ServerReflection/ServerReflectionInfo")
        [answer] = call(iter([make({"listServices": ""})]), timeout=10)
        names = [each.name for each in answer.list_services_response.service]
        for name in names:
            [answer] = call(iter([make({"fileContainingSymbol": name})]), timeout=10)
            found = answer.file_descriptor_response.file_descriptor_proto
            methods = []
            for each in found:
                file = descriptor_pb2.FileDescriptorProto.FromString(each)
                for service in file.service:
                    if f"{file.package}.{service.name}" == name:
                        methods = [method.name for method in service.method]
            say([name, methods])
        [answer] = call(iter([make({"fileContainingSymbol": "no.such"})]), timeout=10)
        say(["error", answer.error_response.error_code])


def dialogue():
    """Exec both ways, in turns: what is sent comes back before the next is sent."""
    with connect() as channel:
        call, make = stub(channel, "kurma.v1.Containers/Exec")
        more = threading.Semaphore(0)
        words = ["start"] + [f"word {count}" for count in range(50)] + ["close"]

        def requests():
            for word in words:
                if word == "start":
                    yield make({"start": {"container": "c", "command": ["cat"]}})
                elif word == "close":
                    yield make({"closeInput": True})
                else:
                    message = make({})
                    message.input = word.encode()
                    yield message
                more.acquire()

        heard = []
        for answer in call(requests(), timeout=20):
            heard.append(plain(answer))
            more.release()
        say([len(heard), heard[0], heard[-1]])


def concurrent(count, each):
    """Many threads on one connection, each a row of unary calls."""
    with connect() as channel:
        call, make = stub(channel, "kurma.v1.System/Version")
        failures = []

        def work():
            for _ in range(each):
                try:
                    if call(make({}), timeout=20).kurma != "1":
                        failures.append("wrong")
                except grpc.RpcError as error:
                    failures.append(error.code().name)

        threads = [threading.Thread(target=work) for _ in range(count)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say({"failures": failures, "perSecond": round(count * each / (time.monotonic() - began))})


def stream(count):
    """How fast an answer of `count` pieces of 16 KiB comes."""
    with connect() as channel:
        call, make = stub(channel, "kurma.v1.Containers/Logs")
        began = time.monotonic()
        got = sum(len(answer.lines[0].text) for answer in call(make({"container": str(count)}), timeout=60))
        say({"bytes": got, "perSecond": round(got / (time.monotonic() - began))})


def latency(count):
    with connect() as channel:
        call, make = stub(channel, "kurma.v1.System/Ping")
        times = []
        for _ in range(count):
            began = time.monotonic()
            call(make({}), timeout=20)
            times.append(time.monotonic() - began)
        times.sort()
        say({"p50": times[count // 2] * 1000, "p99": times[count * 99 // 100] * 1000})


def follow():
    """Reads an endless answer until it is killed or stopped."""
    with connect() as channel:
        call, make = stub(channel, "kurma.v1.Containers/Logs")
        for count, _ in enumerate(call(make({"follow": True}))):
            if count == 10:
                say("following")


def hold():
    """Opens an Exec and says no more."""
    with connect() as channel:
        call, make = stub(channel, "kurma.v1.Containers/Exec")

        def requests():
            yield make({"start": {"container": "c", "command": ["cat"]}})
            time.sleep(1000)

        for _ in call(requests()):
            say("holding")


def large(bytes):
    """A message of so many bytes."""
    with connect() as channel:
        call, make = stub(channel, "kurma.v1.Containers/Get")
        try:
            call(make({"container": "x" * bytes}), timeout=20)
        except grpc.RpcError as error:
            say({"status": error.code().name})


def cancelled():
    """Cancels a unary call that would take long."""
    with connect() as channel:
        call, make = stub(channel, "kurma.v1.Containers/Stop")
        waiting = call.future(make({"container": "held", "timeout": "2000s"}))
        time.sleep(0.3)
        waiting.cancel()
        say({"cancelled": waiting.cancelled()})


def deadline():
    with connect() as channel:
        call, make = stub(channel, "kurma.v1.Containers/Wait")
        began = time.monotonic()
        try:
            call(make({"container": "c"}), timeout=0.3)
        except grpc.RpcError as error:
            say({"status": error.code().name, "early": time.monotonic() - began < 2})


def legacy():
    """What the command line of the first Kurma sent: Create, UploadImage, List, Get, Enter, Destroy."""
    with connect() as channel:

        def bound(name):
            call, make = stub(channel, f"client.Kurma/{name}")
            return call, make

        create, make = bound("Create")
        request = make({"name": "web"})
        request.manifest = b'{"acKind":"ImageManifest"}'
        upload_id = create(request, timeout=10).image_upload_id
        upload, make = bound("UploadImage")

        def chunks():
            for count in range(3):
                chunk = make({"streamId": upload_id})
                chunk.bytes = bytes([count] * 4)
                yield chunk

        say(plain(upload(chunks(), timeout=10)))
        call, make = bound("List")
        say(plain(call(make({}), timeout=10)))
        call, make = bound("Get")
        say(plain(call(make({"uuid": "web"}), timeout=10)))
        enter, make = bound("Enter")

        def typed():
            yield make({"streamId": "web"})
            for text in (b"ls\n", b"\x04"):
                chunk = make({"streamId": "web"})
                chunk.bytes = text
                yield chunk

        say([(answer.stream_id, answer.bytes.decode()) for answer in enter(typed(), timeout=10)])
        destroy, make = bound("Destroy")
        say(plain(destroy(make({"uuid": "web"}), timeout=10)))
        for name, value in (("Get", {"uuid": "web"}), ("Destroy", {"uuid": "web"})):
            call, make = bound(name)
            try:
                call(make(value), timeout=10)
            except grpc.RpcError as error:
                say({"status": error.code().name, "message": error.details()})
        upload, make = bound("UploadImage")
        try:
            upload(iter([make({"streamId": "unknown"})]), timeout=10)
        except grpc.RpcError as error:
            say({"status": error.code().name, "message": error.details()})


def legacy_life(manifest, image):
    """The life of a container as the command line of 2015 asked for it."""
    with connect() as channel:

        def bound(name):
            return stub(channel, f"client.Kurma/{name}")

        create, make = bound("Create")
        sample = make({"name": "web"})
        sample.manifest = b"{}"
        say(sample.SerializeToString().hex(" "))
        request = make({"name": "web"})
        with open(manifest, "rb") as file:
            request.manifest = file.read()
        made = create(request, timeout=10)
        say([len(made.image_upload_id), made.HasField("container")])
        upload, make = bound("UploadImage")

        def chunks():
            with open(image, "rb") as file:
                while data := file.read(4096):
                    chunk = make({"streamId": made.image_upload_id})
                    chunk.bytes = data
                    yield chunk

        say(plain(upload(chunks(), timeout=30)))
        listed, make = bound("List")
        [container] = listed(make({}), timeout=10).containers
        say([len(container.uuid), container.state, json.loads(container.manifest)])
        get, make = bound("Get")
        say(get(make({"uuid": container.uuid}), timeout=10) == container)
        enter, make = bound("Enter")
        shown = threading.Event()

        def typed():
            yield make({"streamId": container.uuid})
            chunk = make({"streamId": container.uuid})
            chunk.bytes = b"echo $((40 + 2)) $A\nexit\n"
            yield chunk
            shown.wait(20)

        answers = list(enter(typed(), timeout=20))
        shown.set()
        say([{answer.stream_id for answer in answers} == {container.uuid},
             b"42 then" in b"".join(answer.bytes for answer in answers)])
        destroy, make = bound("Destroy")
        say(plain(destroy(make({"uuid": container.uuid}), timeout=20)))
        say(plain(listed(bound("List")[1]({}), timeout=10)))
        try:
            get(make({"uuid": container.uuid}), timeout=10)
        except grpc.RpcError as error:
            say(error.code().name)


if command == "call":
    calls(arguments[0], json.loads(arguments[1]))
else:
    globals()[command](*[int(each) if each.isdigit() else each for each in arguments])

!> What every host is told about its emulator: the namelist group /emulator/, with the package, the
!! options of the library, and when and how much of the emulator is applied.
!!
!! A host reads the group from its own namelist file; one whose entries have other names fills the
!! components itself. Defaults of options are the library's, those of the coupling are the policy's.
module climlink_host_settings
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_coupling, only: climlink_coupling_policy, coupling_entries
  use climlink_run_options, only: climlink_options, library_option, library_options
  implicit none (type, external)
  private

  public :: climlink_emulator_settings, meaning_of_entry

  integer, parameter, public :: climlink_path_length = 4096, climlink_text_length = 256
  integer, parameter :: max_names = 64

  !> The entries of /emulator/.
  type, extends(coupling_entries) :: climlink_emulator_settings
    character(len=climlink_path_length) :: package = ''        !! Package file; '': no emulator.
    character(len=climlink_text_length) :: package_name = ''   !! For the attributes of files.
    character(len=climlink_text_length) :: device, pinned_sha256
    character(len=climlink_path_length) :: compiled            !! Compiled artefact; '': none.
    character(len=climlink_text_length) :: compiled_sha256
    character(len=climlink_path_length) :: tuning              !! Measured micro-batches; '': none.
    integer :: threads, micro_batch, group_size, group_timeout_s
    logical :: trust_code, cuda_graphs
    real(real64) :: device_memory_fraction
    character(len=climlink_text_length) :: constraints_off(max_names), variables(max_names)
    character(len=climlink_text_length) :: vertical_remap = 'none'   !! none or conservative
  contains
    procedure :: set_defaults, transfer_group, options, policy
  end type climlink_emulator_settings

contains

  !> Gives every entry its default.
  subroutine set_defaults(self)
    class(climlink_emulator_settings), intent(inout) :: self
    type(climlink_options) :: library

    self%package = ''
    self%package_name = ''
    self%vertical_remap = 'none'
    self%device = library%text('device')
    self%pinned_sha256 = library%text('pinned_sha256')
    self%compiled = library%text('compiled')
    self%compiled_sha256 = library%text('compiled_sha256')
    self%tuning = library%text('tuning')
    self%constraints_off = ''
    self%threads = number_of(library%text('threads'))
    self%micro_batch = number_of(library%text('micro_batch'))
    self%group_size = number_of(library%text('group_size'))
    self%group_timeout_s = number_of(library%text('group_timeout_s'))
    self%trust_code = library%text('trust_code') == 'true'
    self%cuda_graphs = library%text('cuda_graphs') == 'true'
    self%device_memory_fraction = real_of(library%text('device_memory_fraction'))
    self%variables = ''
    self%coupling_entries = coupling_entries()
  end subroutine set_defaults

  pure function number_of(text) result(number)
    character(len=*), intent(in) :: text
    integer :: number

    read (text, *) number
  end function number_of

  pure function real_of(text) result(number)
    character(len=*), intent(in) :: text
    real(real64) :: number

    read (text, *) number
  end function real_of

  !> Reads the group from a unit, or writes it there, as the compiler writes namelists.
  subroutine transfer_group(self, unit, writing, failed, message)
    class(climlink_emulator_settings), intent(inout), target :: self
    integer, intent(in) :: unit
    logical, intent(in) :: writing
    integer, intent(out) :: failed                             !! iostat
    character(len=*), intent(inout) :: message                 !! iomsg
    character(len=:), pointer :: package, package_name, device, pinned_sha256, compiled, &
                                 compiled_sha256, tuning, mode, feedback, ramp, vertical_remap
    character(len=climlink_text_length), pointer :: constraints_off(:), variables(:)
    integer, pointer :: threads, micro_batch, group_size, group_timeout_s, spin_up_steps, &
                        ramp_steps, ramp_on_steps, ramp_off_steps
    logical, pointer :: trust_code, cuda_graphs
    real(real64), pointer :: ramp_factor, device_memory_fraction
    namelist /emulator/ package, package_name, pinned_sha256, device, threads, micro_batch, &
      device_memory_fraction, cuda_graphs, &
      group_size, group_timeout_s, tuning, compiled, compiled_sha256, constraints_off, &
      trust_code, mode, variables, feedback, &
      spin_up_steps, ramp, ramp_factor, ramp_steps, ramp_on_steps, ramp_off_steps, vertical_remap

    package => self%package
    package_name => self%package_name
    pinned_sha256 => self%pinned_sha256
    device => self%device
    threads => self%threads
    micro_batch => self%micro_batch
    device_memory_fraction => self%device_memory_fraction
    cuda_graphs => self%cuda_graphs
    group_size => self%group_size
    group_timeout_s => self%group_timeout_s
    tuning => self%tuning
    compiled => self%compiled
    compiled_sha256 => self%compiled_sha256
    constraints_off => self%constraints_off
    trust_code => self%trust_code
    mode => self%mode
    variables => self%variables
    feedback => self%feedback
    spin_up_steps => self%spin_up_steps
    ramp => self%ramp
    ramp_factor => self%ramp_factor
    ramp_steps => self%ramp_steps
    ramp_on_steps => self%ramp_on_steps
    ramp_off_steps => self%ramp_off_steps
    vertical_remap => self%vertical_remap
    if (writing) then
      write (unit, nml=emulator, iostat=failed, iomsg=message)
    else
      read (unit, nml=emulator, iostat=failed, iomsg=message)
    end if
  end subroutine transfer_group

  !> What an entry of the group means; of an option, what the library says.
  function meaning_of_entry(name) result(meaning)
    character(len=*), intent(in) :: name
    character(len=:), allocatable :: meaning
    type(library_option), allocatable :: published(:)
    integer :: i

    select case (name)
    case ('package')
      meaning = 'package file (wrap_model.pt); blank: no emulator'
    case ('package_name')
      meaning = 'name of the package in the attributes of files'
    case ('mode')
      meaning = 'full: the emulator alone; partial: the outputs in variables; shadow: both ' // &
                'run, one is applied'
    case ('variables')
      meaning = 'mode partial: outputs of the emulator, whole or on levels, or all: ptend_t, ' // &
                'ptend_t(20:60), ptend_q0001(100 hPa:), all(10 hPa:)'
    case ('feedback')
      meaning = 'mode shadow: what is applied, reference or emulator'
    case ('spin_up_steps')
      meaning = "steps of the host's own physics before the emulator"
    case ('ramp')
      meaning = 'how the weight of the emulator grows: constant, linear or step'
    case ('ramp_factor')
      meaning = 'highest weight of the emulator, 0 to 1'
    case ('ramp_steps')
      meaning = 'ramp linear: steps until the weight is ramp_factor'
    case ('ramp_on_steps')
      meaning = 'ramp step: steps with the emulator, the first of each period'
    case ('ramp_off_steps')
      meaning = 'ramp step: steps without it'
    case ('vertical_remap')
      meaning = 'package on other levels than the host: none (it is refused) or conservative'
    case default
      meaning = ''
      allocate (published, source=library_options())
      do i = 1, size(published)
        if (published(i)%name == name) meaning = published(i)%help
      end do
    end select
  end function meaning_of_entry

  !> The options for open.
  function options(self) result(wanted)
    class(climlink_emulator_settings), intent(in) :: self
    type(climlink_options) :: wanted

    call wanted%set('device', self%device)
    call wanted%set('threads', self%threads)
    call wanted%set('micro_batch', self%micro_batch)
    call wanted%set('device_memory_fraction', self%device_memory_fraction)
    call wanted%set('cuda_graphs', self%cuda_graphs)
    call wanted%set('group_size', self%group_size)
    call wanted%set('group_timeout_s', self%group_timeout_s)
    call wanted%set('pinned_sha256', self%pinned_sha256)
    call wanted%set('tuning', self%tuning)
    call wanted%set('compiled', self%compiled)
    call wanted%set('compiled_sha256', self%compiled_sha256)
    call wanted%set('constraints_off', self%constraints_off)
    call wanted%set('trust_code', self%trust_code)
  end function options

  !> When and how much of the emulator is applied.
  function policy(self) result(wanted)
    class(climlink_emulator_settings), intent(in) :: self
    type(climlink_coupling_policy) :: wanted

    wanted%coupling_entries = self%coupling_entries
    allocate (wanted%variables, source=pack(self%variables, len_trim(self%variables) > 0))
  end function policy

end module climlink_host_settings
